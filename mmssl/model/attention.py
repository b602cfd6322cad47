"""Cross-modal attention over the relation embeddings of one side (METHOD equation 9)."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from mmssl.model.official import scrambled_keys


class CrossModalAttention(nn.Module):
    """Fuses the modalities' relation embeddings into one; shared by users and items.

    a_h^{m,k} = softmax over k of (H^m W_q)_h . (H^k W_k)_h / sqrt(d / heads);
    Z^m = concat_h(sum_k a_h^{m,k} H^k) W_cat; Z = mean_m Z^m. Weights multiply from the right,
    without bias. With ``identity`` every a_h^{m,k} is 1 for k = m and 0 otherwise, which is what
    the published code computes (fault 1). With ``scrambled`` the keys are the published ones: the
    queries of all modalities, heads and rows, read in another order (fault 2); there is no W_k.
    """

    def __init__(
        self, dim: int, heads: int, kind: Literal["paper", "identity", "scrambled"]
    ) -> None:
        super().__init__()
        self.heads = heads
        self.is_by_row = kind != "scrambled"
        """Whether a row of Z depends on no other row, so that rows may be left out."""
        self.w_cat = nn.Parameter(torch.empty(heads * dim, dim))
        parameters = [self.w_cat]
        # What reaches nothing does not exist: W_q and W_k under `identity`, W_k when scrambled.
        self.w_q: Tensor | None = None
        self.w_k: Tensor | None = None
        if kind != "identity":
            self.w_q = nn.Parameter(torch.empty(dim, dim))
            parameters.append(self.w_q)
        if kind == "paper":
            self.w_k = nn.Parameter(torch.empty(dim, dim))
            parameters.append(self.w_k)
        for parameter in parameters:
            nn.init.xavier_uniform_(parameter)

    def forward(self, relations: Sequence[Tensor]) -> Tensor:
        """From M tensors (N, d), one a modality, the fused embedding Z: (N, d)."""
        stacked = torch.stack(list(relations))
        mixed = torch.einsum("knh,knd->nhd", self.mean_weights(stacked), stacked)
        return mixed.flatten(1) @ self.w_cat

    def by_modality(self, relations: Sequence[Tensor]) -> list[Tensor]:
        """What each H^k adds to Z, (N, d) each, in their order: their sum is ``forward``."""
        stacked = torch.stack(list(relations))
        return [
            torch.einsum("nh,nd->nhd", weights, relation).flatten(1) @ self.w_cat
            for weights, relation in zip(self.mean_weights(stacked), stacked, strict=True)
        ]

    def mean_weights(self, stacked: Tensor) -> Tensor:
        """mean over m of a_h^{m,k}: (M, N, heads) for k, N and h, from H (M, N, d).

        Z is the mean of the Z^m and both the sum over k and W_cat are linear, so the weights may be
        averaged before the sum instead of the sums after it; that saves a factor M.
        """
        m, n, d = stacked.shape
        if self.w_q is None:
            return stacked.new_full((m, n, self.heads), 1 / m)
        queries = (stacked @ self.w_q).view(m, n, self.heads, d // self.heads)
        if self.w_k is None:
            keys = scrambled_keys(queries)
        else:
            keys = (stacked @ self.w_k).view(m, n, self.heads, d // self.heads)
        # The few modalities in front: a softmax over the last of many short rows is slow.
        scores = torch.einsum("mnhe,knhe->mknh", queries, keys) / (d // self.heads) ** 0.5
        weights: Tensor = scores.softmax(dim=1).mean(dim=0)
        return weights
