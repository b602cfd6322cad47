"""Random walks over the interactions (P3; Cooper et al., WWW 2014), longer ones added."""

from collections.abc import Mapping
from typing import Literal

import scipy.sparse as sp

from mmssl.baselines.base import ItemGraphBaseline
from mmssl.config import Count, TrainingConfig
from mmssl.data.dataset import ModalityFeatures
from mmssl.data.random_walks import walk_graph


class RandomWalkConfig(TrainingConfig):
    """The settings of random walks."""

    model: Literal["random_walk"] = "random_walk"
    name: str = "random_walk"
    steps: Count = 3
    """The longest walks, in steps from item to item; the chances of all are added. 1: P3."""
    neighbours: Count = 100
    """Items that an item sends to, at most: those that its walks reach most."""


class RandomWalk(ItemGraphBaseline):
    """A user's items send to where walks from them end; nothing is learned."""

    config: RandomWalkConfig

    def make_graph(
        self,
        observed: sp.csr_array,
        features: Mapping[str, ModalityFeatures],  # noqa: ARG002
    ) -> sp.csr_array:
        """Row i: the chances of walks from item i."""
        return walk_graph(observed, self.config.steps, self.config.neighbours)
