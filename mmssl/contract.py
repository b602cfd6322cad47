"""The one contract that a recommender of any kind fulfils, and what training adds to it."""

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol, runtime_checkable

import scipy.sparse as sp
import torch
from torch import Tensor, nn

from extract.errors import InputError
from mmssl.config import TrainingConfig
from mmssl.data.dataset import ModalityFeatures
from mmssl.data.sampling import Batch, NoBatches, Sampler
from mmssl.evaluation.ranking import Score
from mmssl.processes import ONE, Processes
from mmssl.vectors import TwoSided


class RecommenderModel(Protocol):
    """What the trainer, the evaluation and the baselines share.

    U users and I items are rows 0..U-1 and 0..I-1 of the dataset that the model was built from.
    """

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """The named parts of the training objective on one batch of ``mmssl.data.sampling``.

        Every part is a scalar tensor, weights included, so that the objective is their sum; a model
        with nothing to learn answers with no parts.
        """
        ...

    def score(self) -> Score:
        """How well every item fits each of some users; higher is better.

        Returns:
            A function of (b,) int64 user rows, on any device. It gives (b, I) floating scores on
            the model's device, finite: a new tensor, which the caller may overwrite. Of a model
            whose scores are products of vectors it is an ``InnerProduct``.
        """
        ...


@runtime_checkable
class EmbeddingModel(RecommenderModel, Protocol):
    """A recommender whose score is the inner product of a user vector and an item vector.

    One that is an ``ItemGraphModel`` too has the sum of both for its score.
    """

    def embeddings(self) -> tuple[Tensor, Tensor]:
        """The final vectors of all users, (U, d), and of all items, (I, d), float32."""
        ...


@runtime_checkable
class ItemGraphModel(RecommenderModel, Protocol):
    """A recommender whose score of an item is what a user's training items send to it."""

    def item_graph(self) -> sp.csr_array | None:
        """S (I x I) float32, sparse: the scores of user u are row u of R S; None: nothing is sent,
        as the configuration of a model with vectors may have it."""
        ...


class TrainableModel(nn.Module):
    """A recommender that the trainer builds, trains, saves and goes on with.

    Subclasses fulfil ``EmbeddingModel``, ``ItemGraphModel`` or both, and override of what stands
    here what they need. What scoring needs and the constructor does not make again is best a
    parameter or a buffer: then it is saved and restored.
    """

    what_to_lower: ClassVar[Mapping[str, str]] = {}
    """Part of the objective -> what to lower when it is no longer a finite number; for others it is
    the learning rate."""
    critic_parts: ClassVar[tuple[str, ...]] = ()
    """The names of what ``critic_losses`` gives, which are not parts of the model's objective."""

    critic: nn.Module | None
    """What is trained against the model, one step before each of the model's."""

    def __init__(
        self,
        config: TrainingConfig,
        observed: sp.csr_array,
        features: Mapping[str, ModalityFeatures],
        generator: torch.Generator,
        *,
        device: torch.device | None = None,
        dtype: torch.dtype = torch.float32,
        processes: Processes = ONE,
    ) -> None:
        """Build the model with fresh parameters, by ``build``.

        Args:
            config: the run's configuration.
            observed: (U, I) training interactions.
            features: raw embeddings by modality; empty for a model that takes none.
            generator: CPU generator of all draws of a training beside those of dropout and noise.
            device: where parameters and graphs live.
            dtype: of the parameters; float32, or float64 for comparisons.
            processes: those that share the training.

        Raises:
            InputError: what cannot be trained on these data.
        """
        super().__init__()
        self.critic = None
        self.config = config
        self.modalities = tuple(features)
        self.n_users, self.n_items = observed.shape
        self.device = device or torch.device("cpu")
        self.dtype = dtype
        self.generator = generator
        self.processes = processes
        self.build(observed, features)
        self.to(device=self.device, dtype=dtype)

    def build(self, observed: sp.csr_array, features: Mapping[str, ModalityFeatures]) -> None:
        """Make parameters, buffers and graphs; arguments as of the constructor.

        Parameters and buffers are moved to ``self.device`` and ``self.dtype`` afterwards, graphs
        are to be made there.
        """
        raise NotImplementedError

    # --- training ----------------------------------------------------------------------------

    def sampler(self, observed: sp.csr_array) -> Sampler:
        """What draws the batches of (U, I) training interactions; by default there are none."""
        return NoBatches()

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """As in ``RecommenderModel``; by default there is nothing to learn."""
        return {}

    def score(self) -> Score:
        """As in ``RecommenderModel``."""
        raise NotImplementedError

    def critic_losses(self, batch: Batch) -> dict[str, Tensor]:
        """The parts of the critic's objective; only where there is a critic."""
        raise NotImplementedError

    def critic_optimiser(self) -> torch.optim.Optimizer:
        """The critic's; only where there is one."""
        raise NotImplementedError

    def lazy_tables(self) -> list[nn.Parameter]:
        """Parameters of which a step touches few rows, and whose gradients are sparse."""
        return []

    def begin_epoch(self, epoch: int) -> None:
        """Before the first step of an epoch, counted from 1."""

    def end_epoch(self, epoch: int) -> None:
        """After the last step of an epoch, before its evaluation."""

    @property
    def first_whole_epoch(self) -> int:
        """The first epoch in which every part of the model works; its gradients are logged."""
        return 1

    def epoch_facts(self) -> dict[str, Any]:
        """What the log says of an epoch beside the usual, as JSON values."""
        return {}

    def check_batches(self, batch_size: int, processes: int) -> None:
        """Refuse batches that cannot be trained on, or not by so many processes.

        Args:
            batch_size: rows of a batch.
            processes: those that share each batch.

        Raises:
            InputError: what to set instead. By default anything but one process.
        """
        if processes > 1:
            raise InputError(
                f"model {self.config.model} trains in one process, not {processes}: start it"
                " without a launcher"
            )

    # --- what is kept ------------------------------------------------------------------------

    def scoring_tensors(self) -> dict[str, Tensor]:
        """All that scoring needs and the constructor does not make again: live tensors, by name."""
        return {f"model/{name}": tensor for name, tensor in self.state_dict().items()}

    def load_scoring_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """The inverse of ``scoring_tensors``; other tensors are left aside."""
        self.load_state_dict(
            {n.removeprefix("model/"): t for n, t in tensors.items() if n.startswith("model/")}
        )

    def training_state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """What going on with training needs besides: tensors and JSON facts."""
        return {}, {}

    def restore_training_state(
        self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]
    ) -> None:
        """The inverse of ``training_state``."""

    def modality_parts(self) -> dict[str, TwoSided]:
        """What of the final vectors each modality's media brought: users (U, d), items (I, d).

        The rest of the vectors is then what interactions and ids brought. By default there are
        none: the model has no media, or does not tell them apart.
        """
        return {}

    def relation_graphs(self) -> dict[str, sp.csr_array]:
        """Graphs (U x I, of ones) kept beside the finished model for who looks at it, by modality.

        By default there are none.
        """
        return {}
