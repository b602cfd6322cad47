"""Graphs of interactions: normalised both ways, looked up, and saved."""

from collections.abc import Mapping
from typing import Literal, Protocol

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from mmssl.data.sparse import SparseMatrix

Normalisation = Literal["row", "symmetric"]


class Graph(Protocol):
    """Both directions of a bipartite graph, or of some of one."""

    @property
    def to_users(self) -> SparseMatrix:
        """Gathers item vectors at users."""

    @property
    def to_items(self) -> SparseMatrix:
        """Gathers user vectors at items."""


class BipartiteGraph:
    """Users and items joined by edges of weight one, normalised in both directions.

    METHOD section 1: ``row`` gives A_ui = D_u^(-1/2) R and A_iu = D_i^(-1/2) R^T, each row divided
    by the root of its own degree; ``symmetric`` gives D_u^(-1/2) R D_i^(-1/2) and its transpose. A
    degree d enters as (d + 1e-8)^(-1/2), and rows of degree zero stay zero.
    """

    def __init__(
        self,
        edges: sp.csr_array,
        normalisation: Normalisation = "row",
        device: torch.device | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        device = device or torch.device("cpu")
        self.edges = binary(edges)
        counts = self.edges.astype(np.float64)
        users = sp.diags_array((counts.sum(axis=1) + 1e-8) ** -0.5)
        items = sp.diags_array((counts.sum(axis=0) + 1e-8) ** -0.5)
        if normalisation == "symmetric":
            user_rows = sp.csr_array(users @ counts @ items)
            item_rows = sp.csr_array(user_rows.T)
        else:
            user_rows = sp.csr_array(users @ counts)
            item_rows = sp.csr_array(items @ counts.T)
        self.to_users = SparseMatrix(user_rows, device, dtype)
        """A_ui (U x I): gathers item vectors at users."""
        self.to_items = SparseMatrix(item_rows, device, dtype)
        """A_iu (I x U): gathers user vectors at items."""


def binary(matrix: sp.csr_array) -> sp.csr_array:
    """The matrix with every stored non-zero entry set to one, indices sorted, as a copy."""
    result = sp.csr_array(matrix, copy=True)
    result.sum_duplicates()
    result.eliminate_zeros()
    result.data = np.ones_like(result.data, dtype=np.float32)
    return result


class Adjacency:
    """Observed interactions as index arrays: membership tests and dense blocks, never U x I."""

    def __init__(self, matrix: sp.csr_array, device: torch.device) -> None:
        matrix = binary(matrix)
        self.shape = matrix.shape
        self.starts = torch.as_tensor(matrix.indptr, dtype=torch.int64, device=device)
        self.items = torch.as_tensor(matrix.indices, dtype=torch.int64, device=device)
        self.degrees = self.starts.diff()
        owners = torch.repeat_interleave(torch.arange(matrix.shape[0], device=device), self.degrees)
        # Ascending, since users ascend and each user's items do.
        self._keys = owners * matrix.shape[1] + self.items

    def contains(self, users: Tensor, items: Tensor) -> Tensor:
        """For pairs (n,) of int64 rows: (n,) bool, whether the pair was observed."""
        if not len(self._keys):
            return torch.zeros_like(users, dtype=torch.bool)
        keys = users * self.shape[1] + items
        found = torch.searchsorted(self._keys, keys).clamp(max=len(self._keys) - 1)
        matches: Tensor = self._keys[found] == keys
        return matches

    def block(self, users: Tensor, items: Tensor, dtype: torch.dtype) -> Tensor:
        """R[users, items] as a dense (len(users), len(items)) matrix of zeros and ones.

        ``items`` ascend. Cost: what the users have observed, whatever the catalogue's size.
        """
        degrees = self.degrees[users]
        rows = torch.repeat_interleave(torch.arange(len(users), device=users.device), degrees)
        first = torch.repeat_interleave(degrees.cumsum(0) - degrees, degrees)
        offset = torch.arange(len(rows), device=users.device) - first
        owned = self.items[torch.repeat_interleave(self.starts[users], degrees) + offset]
        columns = torch.searchsorted(items, owned).clamp(max=len(items) - 1)
        dense = torch.zeros(len(users), len(items), dtype=dtype, device=users.device)
        inside = items[columns] == owned
        dense[rows[inside], columns[inside]] = 1
        return dense


def csr_tensors(matrices: Mapping[str, sp.csr_array]) -> dict[str, Tensor]:
    """Pattern of each matrix: ``<name>.crow`` (U + 1,) and ``<name>.col`` (n,), both int64."""
    tensors = {}
    for name, matrix in matrices.items():
        tensors[f"{name}.crow"] = torch.from_numpy(matrix.indptr.astype(np.int64))
        tensors[f"{name}.col"] = torch.from_numpy(matrix.indices.astype(np.int64))
    return tensors


def csr_arrays(tensors: Mapping[str, Tensor], shape: tuple[int, int]) -> dict[str, sp.csr_array]:
    """The inverse of ``csr_tensors``: matrices of ones, by name.

    Raises:
        ValueError: offsets or columns do not fit the shape.
    """
    names = [name.removesuffix(".crow") for name in tensors if name.endswith(".crow")]
    arrays = {}
    for name in names:
        crow, col = tensors[f"{name}.crow"].numpy(), tensors[f"{name}.col"].numpy()
        rows_whole = len(crow) == shape[0] + 1 and crow[0] == 0 and crow[-1] == len(col)
        if not rows_whole or (np.diff(crow) < 0).any():
            raise ValueError(f"{name}: row offsets do not fit {shape[0]} users")
        if len(col) and (col.min() < 0 or col.max() >= shape[1]):
            raise ValueError(f"{name}: an item row is outside 0..{shape[1] - 1}")
        arrays[name] = sp.csr_array((np.ones(len(col), dtype=np.float32), col, crow), shape=shape)
    return arrays
