"""The one contract that a recommender of any kind fulfils."""

from typing import Any, Protocol

from torch import Tensor


class RecommenderModel(Protocol):
    """What the trainer, the evaluation and the baselines share.

    U users and I items are rows 0..U-1 and 0..I-1 of the dataset that the model was built from.
    """

    def losses(self, batch: Any) -> dict[str, Tensor]:
        """The named parts of the training objective on one batch of ``mmssl.data.sampling``.

        Every part is a scalar tensor, weights included, so that the objective is their sum; a model
        with nothing to learn answers with no parts.
        """
        ...

    def score(self, users: Tensor) -> Tensor:
        """How well every item fits each of the users; higher is better.

        Args:
            users: (b,) int64 user rows, on any device.

        Returns:
            (b, I) floating scores on the model's device, finite: a new tensor, which the caller may
            overwrite.
        """
        ...


class EmbeddingModel(RecommenderModel, Protocol):
    """A recommender whose score is the inner product of a user vector and an item vector."""

    def embeddings(self) -> tuple[Tensor, Tensor]:
        """The final vectors of all users, (U, d), and of all items, (I, d)."""
        ...
