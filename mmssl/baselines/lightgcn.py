"""LightGCN: vectors propagated along the interactions, nothing else (He et al., SIGIR 2020)."""

from typing import Literal

from torch import Tensor

from mmssl.baselines.graph import GraphBaseline, GraphBaselineConfig, mean_of
from mmssl.data.sampling import Batch


class LightGCNConfig(GraphBaselineConfig):
    """The settings of LightGCN."""

    model: Literal["lightgcn"] = "lightgcn"
    name: str = "lightgcn"


class LightGCN(GraphBaseline):
    """e_u^(l+1) = sum over u's items i of e_i^(l) / sqrt(d_u d_i), the same for items; their mean.

    The paper's equations 3 (propagation) and 4 with alpha_l = 1 / (L + 1); its objective, section
    3.3, is BPR with an L2 term on layer 0, the only parameters.
    """

    config: LightGCNConfig

    def final(self) -> tuple[Tensor, Tensor]:
        """The mean of layers 0..L."""
        return mean_of(self.propagate(self.graph))

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """``bpr`` and ``embedding_l2``."""
        return self.ranking_losses(batch, self.final())
