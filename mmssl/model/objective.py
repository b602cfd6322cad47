"""The objective: what a step's views cost (equation 13), and what they cost the critic."""

import torch
from torch import Tensor

from mmssl.data.graphs import Adjacency
from mmssl.data.sampling import Batch
from mmssl.model.config import MMSSLConfig
from mmssl.model.critic_block import CriticBlock, block_items
from mmssl.model.features import feature_l2
from mmssl.model.step import Step
from mmssl.model.views import Views
from mmssl.objectives.adversarial import (
    Critic,
    critic_losses,
    generator_loss,
    real_rows,
)
from mmssl.objectives.bpr import batch_l2, bpr
from mmssl.objectives.cross_view import cross_view
from mmssl.objectives.info_nce import info_nce
from mmssl.objectives.reconstruction import reconstruction
from mmssl.objectives.softmax import sampled_softmax
from mmssl.processes import Processes
from mmssl.vectors import TwoSided, unit_rows


class Objective:
    """The weighted parts of both sides' objectives.

    With several processes the parts are what this one's users add to the whole.
    """

    def __init__(
        self,
        config: MMSSLConfig,
        interactions: Adjacency,
        critic: Critic | None,
        processes: Processes,
    ) -> None:
        """Prepare to measure.

        Args:
            config: the run's configuration.
            interactions: training interactions, of U users and I items.
            critic: where the configuration has one.
            processes: those that share the training.
        """
        self._config, self._shape = config, interactions.shape
        self._interactions = interactions
        self._critic, self._processes = critic, processes

    # --- of the critic -----------------------------------------------------------------------

    def critic_losses(self, step: Step, views: Views) -> dict[str, Tensor]:
        """The parts of L_D on the step's block.

        With several processes the block is common, each has the rows of some of its users, and the
        parts are what these add to the whole. Dropout in the critic is each process's own.
        """
        assert self._critic is not None
        block, observed = self._own_block(step)
        with torch.no_grad():
            real = self.real_rows(block, observed, views.final)
            fake = self.generated_rows(block, observed, views)
        with self._processes.own_draws():
            parts = critic_losses(
                self._critic,
                fake,
                real,
                block.items,
                block.epsilon,
                self._config.adversarial.gradient_penalty,
                views.final.item[block.items],
            )
        return self._weighted(parts, step.block)

    def real_rows(self, block: CriticBlock, observed: Tensor, final: TwoSided) -> Tensor:
        """What the critic is to take for real, (B', S): equation 5, or the observed rows alone.

        Args:
            block: users and items by their places in ``final``.
            observed: (B', S) R on the block.
            final: h of equation 11.
        """
        adversarial = self._config.adversarial
        if adversarial.real_rows == "observed":
            # Every row has an entry: the configuration sees to it that the block's items have room
            # for the positives of all its users.
            return unit_rows(observed)
        return real_rows(
            observed,
            block.rows(final, observed, adversarial.mask_observed),
            block.uniform,
            gumbel_temperature=adversarial.gumbel_temperature,
            gumbel_scale=adversarial.gumbel_scale,
            prediction_scale=adversarial.prediction_scale,
            temperature_on=adversarial.temperature_on,
        )

    def generated_rows(self, block: CriticBlock, observed: Tensor, views: Views) -> list[Tensor]:
        """Equation 3 of each modality's features, (B', S); arguments as of ``real_rows``."""
        mask = self._config.adversarial.mask_observed
        return [block.rows(side, observed, mask) for side in views.features.values()]

    # --- of the model ------------------------------------------------------------------------

    def losses(self, step: Step, views: Views, ids: TwoSided) -> dict[str, Tensor]:
        """The weighted parts of L (equation 13) by name; their sum is what the model minimises.

        Of what is not a mean over users (the L2 of the features) a process has a share as large as
        its share of the users. Views of all the batch's users are negatives of the contrast.
        Dropout on the features is common to all processes.

        Args:
            step: batch, block and shared negatives.
            views: of the step's forward pass.
            ids: the id embeddings E.
        """
        config, batch = self._config, step.batch
        own = batch.part(self._processes.part(len(batch.users)))
        users = views.final.user[own.users]
        positives = views.final.item[own.positives]
        negatives = views.final.item[own.negatives]
        shrunk = (users, positives, negatives)
        if config.optimiser.embedding_l2_on == "ids":
            shrunk = (ids.user[own.users], ids.item[own.positives], ids.item[own.negatives])
        parts = {
            config.ranking.loss: bpr(users, positives, negatives)
            if step.shared is None
            else self._softmax(own.users, step.shared, users, positives, views.final.item),
            "embedding_l2": config.optimiser.embedding_l2 * batch_l2(*shrunk),
        }
        if config.optimiser.feature_l2 > 0:
            part = config.optimiser.feature_l2 * feature_l2(views.features, self._shape)
            parts["feature_l2"] = part
        if config.reconstruction.weight > 0:
            features = views.features.values()
            parts["reconstruction"] = config.reconstruction.weight * reconstruction(
                [side.user[own.users] for side in features],
                [side.item[own.positives] for side in features],
                [side.item[own.negatives] for side in features],
            )
        parts = self._weighted(parts, batch)
        if config.contrast.weight > 0:
            distinct = batch.users
            if config.optimiser.batches == "interactions":
                distinct = torch.unique(distinct)
            contrast = config.contrast.weight * self._contrast(distinct, views)
            parts |= self._weighted({"contrast": contrast}, distinct)
        if views.perturbed is not None:
            one, other = views.perturbed
            parts |= self._noise_contrast("user", batch.users, one.user, other.user)
            parts |= self._noise_contrast("item", batch.positives, one.item, other.item)
        if self._critic is not None:
            generator = self._generator_loss(self._critic, step, views)
            parts |= self._weighted({"generator": generator}, step.block)
        return parts

    def _softmax(
        self, rows: Tensor, shared: Tensor, users: Tensor, positives: Tensor, items: Tensor
    ) -> Tensor:
        observed = self._interactions.block(rows, shared, torch.bool)
        temperature = self._config.ranking.temperature
        return sampled_softmax(users, positives, items[shared], observed, temperature)

    def _contrast(self, users: Tensor, views: Views) -> Tensor:
        """Equation 12 over distinct users, summed over modalities."""
        contrast = self._config.contrast
        side = views.final if contrast.anchor == "final" else views.collaborative
        anchors = side.user[users]
        own = self._processes.part(len(anchors))
        if contrast.stop_gradient == "anchor":
            anchors = anchors.detach()
        parts = []
        for side in views.relations.values():
            relation = side.user[users]
            if contrast.stop_gradient == "relation":
                relation = relation.detach()
            parts.append(info_nce(relation, anchors, contrast.temperature, own))
        return torch.stack(parts).sum()

    def _noise_contrast(
        self, side: str, rows: Tensor, one: Tensor, other: Tensor
    ) -> dict[str, Tensor]:
        """Distinct nodes of the batch, each to be told from the others in the other noisy view."""
        settings, distinct = self._config.noise_contrast, torch.unique(rows)
        own = self._processes.part(len(distinct))
        places = torch.arange(len(distinct), device=distinct.device)[own]
        contrast = cross_view(one[distinct[own]], other[distinct], settings.temperature, places)
        return self._weighted({f"noise_contrast_{side}": settings.weight * contrast}, distinct)

    def _generator_loss(self, critic: Critic, step: Step, views: Views) -> Tensor:
        """lambda_g L_G on this process's part of a step's block."""
        block, observed = self._own_block(step)
        fake = self.generated_rows(block, observed, views)
        vectors = views.final.item[block.items]
        with self._processes.own_draws():
            loss = generator_loss(critic, fake, block.items, vectors)
        return self._config.adversarial.weight * loss

    # --- shares of processes -----------------------------------------------------------------

    def _own_block(self, step: Step) -> tuple[CriticBlock, Tensor]:
        """This process's users of a step's block, and R on it."""
        assert step.block is not None
        assert step.observed is not None
        own = self._processes.part(len(step.block))
        return step.block.part(own), step.observed[own]

    def _weighted(
        self, parts: dict[str, Tensor], whole: Batch | CriticBlock | Tensor | None
    ) -> dict[str, Tensor]:
        """Means over this process's part of some users, as parts of the mean over all of them."""
        if self._processes.count == 1 or whole is None:
            return parts
        users = whole if isinstance(whole, Tensor) else whole.users
        share = self._processes.share(len(users))
        return {name: share * part for name, part in parts.items()}


def build_critic(config: MMSSLConfig, n_items: int) -> Critic | None:
    """The critic that the configuration asks for, with fresh weights; None without one."""
    adversarial = config.adversarial
    if not adversarial.weight:
        return None
    hidden = adversarial.critic_hidden
    by_vectors = adversarial.critic_weights == "from_vectors"
    return Critic(
        n_items,
        block_items(adversarial, n_items),
        (max(1, n_items // 4), max(1, n_items // 8)) if hidden == "catalogue" else hidden,
        adversarial.critic_dropout,
        vectors_dim=config.backbone.embedding_dim if by_vectors else None,
        slope=adversarial.critic_slope,
        batch_norm=adversarial.critic_batch_norm,
        output=adversarial.critic_output,
    )
