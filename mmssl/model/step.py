"""What a step of training works on: a batch, the critic's block, and where the views come from."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mmssl.data.graphs import Adjacency
from mmssl.data.neighbours import TwoSidedNeighbours
from mmssl.data.sampling import Batch, distinct
from mmssl.model.config import MMSSLConfig
from mmssl.model.critic_block import CriticBlock, block_items, draw_block
from mmssl.model.neighbourhood import Neighbourhood, NeighbourhoodSampler
from mmssl.model.relation_graphs import RelationGraphs


@dataclass(frozen=True)
class Step:
    """A step's users and items, by their places in the views of its forward pass.

    Under ``propagation: full`` these places are the rows of the dataset.
    """

    batch: Batch
    """Places in the views."""
    block: CriticBlock | None
    """Places in the views; None without a critic."""
    observed: Tensor | None
    """R on the block."""
    shared: Tensor | None
    """(n,) int64, ascending: the items that a softmax compares all of the batch's positives with;
    None without one."""
    neighbourhood: Neighbourhood | None
    """What the views are estimated from; None: they are computed for everybody."""


class StepSampler:
    """Draws what a step needs beside its batch: the block first, then the neighbourhood."""

    def __init__(
        self,
        config: MMSSLConfig,
        interactions: Adjacency,
        relations: RelationGraphs,
        *,
        neighbours: TwoSidedNeighbours | None,
        generator: torch.Generator,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        """Prepare to draw.

        Args:
            config: the run's configuration.
            interactions: training interactions.
            relations: the relation graphs, whichever are in use at a draw.
            neighbours: of the graph of equations 2 and 10; None under ``propagation: full``.
            generator: on the CPU.
            device: of batches and sparse matrices.
            dtype: of the draws of U(0, 1), R and sparse matrices.
        """
        self._config, self._relations = config, relations
        self._interactions = interactions
        self._generator, self._dtype = generator, dtype
        backbone = config.backbone
        self.neighbourhoods = (
            NeighbourhoodSampler(
                neighbours,
                backbone.propagation_order,
                backbone.layers,
                backbone.fan_outs,
                generator,
                device,
                dtype,
            )
            if neighbours is not None
            else None
        )
        """None under ``propagation: full``."""

    def draw(self, batch: Batch) -> Step:
        """A fresh block of the batch's users, and a neighbourhood of all that the step compares."""
        block, observed = None, None
        if self._config.adversarial.weight > 0:
            block = self._draw_block(batch)
            observed = self._interactions.block(block.users, block.items, self._dtype)
        if self.neighbourhoods is None:
            return Step(batch, block, observed, self._draw_shared(batch), None)
        from_relations = self._config.backbone.relation_rate > 0
        needed = from_relations or self._config.contrast.weight > 0
        blocks = [block] if block is not None else []
        drawn = self.neighbourhoods.draw(
            [batch.users, *(b.users for b in blocks)],
            [batch.positives, batch.negatives, *(b.items for b in blocks)],
            self._relations.neighbours if needed else {},
            relations_at_start=from_relations,
        )
        return Step(
            Batch(drawn.user_rows[0], *drawn.item_rows[:2]),
            block and replace(block, users=drawn.user_rows[1], items=drawn.item_rows[2]),
            observed,
            None,
            drawn,
        )

    def _draw_shared(self, batch: Batch) -> Tensor | None:
        ranking, n_items = self._config.ranking, self._interactions.shape[1]
        if ranking.loss != "softmax":
            return None
        drawn = distinct(n_items, min(ranking.negatives, n_items), self._generator)
        return drawn.sort().values.to(batch.users.device)

    def _draw_block(self, batch: Batch) -> CriticBlock:
        adversarial, n_items = self._config.adversarial, self._interactions.shape[1]
        return draw_block(
            batch,
            n_items=n_items,
            users=adversarial.critic_users,
            items=block_items(adversarial, n_items),
            modalities=len(self._relations.graphs),
            generator=self._generator,
            dtype=self._dtype,
        )
