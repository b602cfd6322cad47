"""Constant sparse matrices times dense ones: on each kind of device by what is fast there."""

import warnings
from collections.abc import Iterable
from typing import Any, Protocol

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

# The share of rows beyond which all are taken: about where picking them costs what it saves.
_NEARLY_ALL = 0.75


class SparseMatrix:
    """A constant sparse matrix on one device; its product with a dense one is differentiable."""

    def __init__(self, matrix: sp.csr_array, device: torch.device, dtype: torch.dtype) -> None:
        """Copy what is needed of ``matrix``, (rows, columns), to the device."""
        matrix = sp.csr_array(matrix)
        self.shape = matrix.shape
        self.has_entry = np.diff(matrix.indptr) > 0
        """(rows,) bool: whether a row has an entry; of any other the product is zero."""
        self._dtype = dtype
        kernel = kernel_of(device, dtype)
        self._kernel = kernel(matrix, device, dtype)
        # Kept, so that the backward is one sparse product too: PyTorch's own builds what it needs
        # again in every step.
        self._transposed = kernel(sp.csr_array(matrix.T), device, dtype)

    def __matmul__(self, dense: Tensor) -> Tensor:
        """The product with ``dense`` (columns, d): (rows, d); gradients flow to ``dense``.

        Raises:
            ValueError: ``dense`` does not have as many rows as the matrix has columns.
        """
        if dense.ndim != 2 or len(dense) != self.shape[1]:
            raise ValueError(f"a matrix of {self.shape} times a tensor of {tuple(dense.shape)}")
        # Sparse kernels know no half precision: under autocast, too, the product stays in the
        # matrix's.
        product: Tensor = _SparseProduct.apply(
            dense.to(self._dtype), self._kernel, self._transposed
        )
        return product


class Kernel(Protocol):
    """How products of one matrix are computed; all kinds come to the same but for rounding."""

    def __init__(self, matrix: sp.csr_array, device: torch.device, dtype: torch.dtype) -> None: ...

    def __call__(self, dense: Tensor) -> Tensor:
        """(columns, d), contiguous, of the matrix's type -> (rows, d), without a gradient."""


class _SparseProduct(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, dense: Tensor, kernel: Kernel, transposed: Kernel) -> Tensor:
        ctx.kernel, ctx.transposed = kernel, transposed
        with torch.autocast(dense.device.type, enabled=False):
            return kernel(dense.contiguous())

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return _SparseProduct.apply(gradients[0], ctx.transposed, ctx.kernel), None, None


def kernel_of(device: torch.device, dtype: torch.dtype) -> type[Kernel]:
    """The kind for a device and a type of number."""
    if device.type == "mps":
        return GatheringKernel
    if device.type == "cpu" and dtype == torch.float32:
        return BagKernel
    return CsrKernel


class BagKernel:
    """Each row is a bag of embeddings: on a CPU, two to five times faster at a width of 64.

    That is of float32, for which torch's kernel fetches ahead; of float64 it is no clear gain.
    """

    def __init__(self, matrix: sp.csr_array, device: torch.device, dtype: torch.dtype) -> None:
        self._shape = matrix.shape
        self._offsets, self._columns, self._values = _csr_tensors(matrix, device, dtype)

    def __call__(self, dense: Tensor) -> Tensor:
        """As in ``Kernel``."""
        # A table without a row, or of rows without a number, is no table to torch.
        if not self._shape[1] or not dense.shape[1]:
            return dense.new_zeros(self._shape[0], dense.shape[1])
        # Of a table that wants a gradient, torch would note down what its own backward needs.
        return embedding_bag(
            self._columns,
            dense.detach(),
            self._offsets,
            mode="sum",
            per_sample_weights=self._values,
            include_last_offset=True,
        )


class CsrKernel:
    """PyTorch's product with a matrix of compressed rows: MKL's, or cuSPARSE's."""

    def __init__(self, matrix: sp.csr_array, device: torch.device, dtype: torch.dtype) -> None:
        offsets, columns, values = _csr_tensors(matrix, device, dtype)
        with warnings.catch_warnings():
            # The one kind of warning here says that CSR is in beta; the tests hold what we use.
            warnings.simplefilter("ignore", UserWarning)
            # Not checked for being a valid CSR matrix: scipy built it.
            self._matrix = torch.sparse_csr_tensor(
                offsets, columns, values, size=matrix.shape, check_invariants=False
            )

    def __call__(self, dense: Tensor) -> Tensor:
        """As in ``Kernel``."""
        return self._matrix @ dense


class GatheringKernel:
    """Rows are gathered and added up, which needs no sparse kernel: Apple's GPUs have none."""

    def __init__(self, matrix: sp.csr_array, device: torch.device, dtype: torch.dtype) -> None:
        self._n_rows = matrix.shape[0]
        rows, columns = matrix.tocoo().coords
        self._rows = torch.as_tensor(rows, dtype=torch.int64, device=device)
        self._columns = torch.as_tensor(columns, dtype=torch.int64, device=device)
        self._values = torch.as_tensor(matrix.data, dtype=dtype, device=device)

    def __call__(self, dense: Tensor) -> Tensor:
        """As in ``Kernel``."""
        gathered = self._values[:, None] * dense[self._columns]
        total = dense.new_zeros(self._n_rows, dense.shape[1])
        return total.index_add(0, self._rows, gathered)


def _csr_tensors(
    matrix: sp.csr_array, device: torch.device, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor]:
    """Offsets (rows + 1,), columns (nnz,) and values (nnz,), copied."""
    # 32-bit indices are what the CPU's sparse kernels take without a conversion.
    index = torch.int32 if max(matrix.nnz, *matrix.shape) < 2**31 else torch.int64
    return (
        torch.tensor(matrix.indptr, dtype=index, device=device),
        torch.tensor(matrix.indices, dtype=index, device=device),
        torch.tensor(matrix.data, dtype=dtype, device=device),
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
    if rows.sum() > _NEARLY_ALL * len(rows):
        return None
    return torch.from_numpy(rows.nonzero()[0]).to(device)
