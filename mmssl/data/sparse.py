"""Constant sparse matrices times dense ones: on each kind of device by what is fast there."""

import warnings
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

# The share of rows beyond which all are taken.
_NEARLY_ALL = 0.75

_Product: TypeAlias = Callable[[Tensor], Tensor]
"""(columns, d) contiguous -> (rows, d), without a gradient."""


class SparseMatrix:
    """A constant sparse matrix on one device; its product with a dense one is differentiable."""

    def __init__(self, matrix: sp.csr_array, device: torch.device, dtype: torch.dtype) -> None:
        matrix = sp.csr_array(matrix)
        self.shape = matrix.shape
        self.has_entry = np.diff(matrix.indptr) > 0
        """(rows,) bool: whether a row has an entry; of any other the product is zero."""
        self._dtype = dtype
        product = product_kernel(device, dtype)
        self._product = product(matrix, device, dtype)
        # Kept, so that the backward is one sparse product too: PyTorch's own builds what it needs
        # again in every step.
        self._transposed = product(sp.csr_array(matrix.T), device, dtype)

    def __matmul__(self, dense: Tensor) -> Tensor:
        """The product with ``dense`` (columns, d): (rows, d); gradients flow to ``dense``."""
        # Sparse kernels know no half precision: under autocast the product stays in the matrix's.
        dense = dense.to(self._dtype)
        with torch.autocast(dense.device.type, enabled=False):
            product: Tensor = _SparseProduct.apply(dense, self._product, self._transposed)
        return product


class _SparseProduct(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, dense: Tensor, product: _Product, transposed: _Product) -> Tensor:
        ctx.product, ctx.transposed = product, transposed
        return product(dense.contiguous())

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return _SparseProduct.apply(gradients[0], ctx.transposed, ctx.product), None, None


def product_kernel(
    device: torch.device, dtype: torch.dtype
) -> Callable[[sp.csr_array, torch.device, torch.dtype], _Product]:
    """What makes the product of a matrix on a device; all come to the same but for rounding."""
    if device.type == "mps":
        return by_gathering
    if device.type == "cpu" and dtype == torch.float32:
        return by_bags
    return by_csr


def by_bags(matrix: sp.csr_array, device: torch.device, dtype: torch.dtype) -> _Product:
    """Each row is a bag of embeddings: on a CPU, two to five times faster than a CSR product.

    Of float64 it is not, since its kernels that fetch ahead are for shorter numbers.
    """
    offsets, columns, values = _csr_tensors(matrix, device, dtype)
    n_rows, n_columns = matrix.shape

    def product(dense: Tensor) -> Tensor:
        # A table without a row, or of rows without a number, is no table to torch.
        if not n_columns or not dense.shape[1]:
            return dense.new_zeros(n_rows, dense.shape[1])
        # Of a table that wants a gradient, torch would note down what its own backward needs.
        return embedding_bag(
            columns,
            dense.detach(),
            offsets,
            mode="sum",
            per_sample_weights=values,
            include_last_offset=True,
        )

    return product


def by_csr(matrix: sp.csr_array, device: torch.device, dtype: torch.dtype) -> _Product:
    """PyTorch's product with a matrix of compressed rows: MKL's, or cuSPARSE's."""
    offsets, columns, values = _csr_tensors(matrix, device, dtype)
    with warnings.catch_warnings():
        # The one kind of warning here says that CSR is in beta; the tests hold what we use of it.
        warnings.simplefilter("ignore", UserWarning)
        # Not checked for being a valid CSR matrix: scipy built it.
        compressed = torch.sparse_csr_tensor(
            offsets, columns, values, size=matrix.shape, check_invariants=False
        )
    return lambda dense: compressed @ dense


def by_gathering(matrix: sp.csr_array, device: torch.device, dtype: torch.dtype) -> _Product:
    """Rows are gathered and added up, which needs no sparse kernel: Apple's GPUs have none."""
    n_rows = matrix.shape[0]
    rows, columns = (torch.as_tensor(at, dtype=torch.int64) for at in matrix.tocoo().coords)
    rows, columns = rows.to(device), columns.to(device)
    values = torch.as_tensor(matrix.data, dtype=dtype).to(device)

    def product(dense: Tensor) -> Tensor:
        gathered = values[:, None] * dense[columns]
        return dense.new_zeros(n_rows, dense.shape[1]).index_add(0, rows, gathered)

    return product


def _csr_tensors(
    matrix: sp.csr_array, device: torch.device, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor]:
    """Offsets (rows + 1,), columns (nnz,) and values (nnz,)."""
    # 32-bit indices are what the CPU's sparse kernels take without a conversion.
    index = torch.int32 if max(matrix.nnz, *matrix.shape) < 2**31 else torch.int64
    return (
        torch.as_tensor(matrix.indptr, dtype=index, device=device),
        torch.as_tensor(matrix.indices, dtype=index, device=device),
        torch.as_tensor(matrix.data, dtype=dtype, device=device),
    )


def rows_with_entries(matrices: Iterable[SparseMatrix], device: torch.device) -> Tensor | None:
    """The rows in which some of the matrices, alike in shape, has an entry: (n,) int64, ascending.

    None where that are nearly all of them, or where there is no matrix: then to pick rows costs
    more than it saves.
    """
    has_entry = [matrix.has_entry for matrix in matrices]
    if not has_entry:
        return None
    rows = np.logical_or.reduce(has_entry)
    if rows.mean() > _NEARLY_ALL:
        return None
    return torch.from_numpy(rows.nonzero()[0]).to(device)
