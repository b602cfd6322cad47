import numpy as np
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mmssl.data import sparse
from mmssl.data.sparse import (
    BagKernel,
    CsrKernel,
    GatheringKernel,
    SparseMatrix,
    kernel_of,
    rows_with_entries,
)

CPU = torch.device("cpu")
KERNELS = [BagKernel, CsrKernel, GatheringKernel]
patterns = st.tuples(st.integers(1, 7), st.integers(1, 7)).flatmap(
    lambda shape: arrays(np.int8, shape, elements=st.integers(0, 1))
)


def weighted(pattern: np.ndarray) -> np.ndarray:
    return pattern * np.linspace(0.5, 2, pattern.size).reshape(pattern.shape)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@given(pattern=patterns, width=st.integers(1, 70))
def test_the_product_and_its_gradient_are_those_of_the_dense_matrix(dtype, pattern, width):
    weights = weighted(pattern)
    matrix = SparseMatrix(sp.csr_array(weights), CPU, dtype)
    given_ = torch.randn(pattern.shape[1], width, dtype=dtype, requires_grad=True)
    upstream = torch.randn(pattern.shape[0], width, dtype=dtype)
    product = matrix @ given_
    product.backward(upstream)
    near = {"atol": 1e-12 if dtype == torch.float64 else 1e-5}
    np.testing.assert_allclose(product.detach(), weights @ given_.detach().numpy(), **near)
    np.testing.assert_allclose(given_.grad, weights.T @ upstream.numpy(), **near)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@given(pattern=patterns, width=st.integers(1, 40))
def test_every_kernel_comes_to_the_product(kernel, dtype, pattern, width):
    weights = weighted(pattern)
    dense = torch.randn(pattern.shape[1], width, dtype=dtype)
    product = kernel(sp.csr_array(weights), CPU, dtype)(dense)
    assert product.dtype == dtype
    near = {"atol": 1e-12 if dtype == torch.float64 else 1e-5}
    np.testing.assert_allclose(product, weights @ dense.numpy(), **near)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize(("shape", "width"), [((3, 0), 2), ((0, 3), 2), ((3, 2), 0), ((0, 0), 1)])
def test_a_matrix_without_rows_columns_or_entries_has_a_product(kernel, shape, width):
    product = kernel(sp.csr_array(shape), CPU, torch.float32)(torch.ones(shape[1], width))
    assert product.tolist() == np.zeros((shape[0], width)).tolist()


@pytest.mark.parametrize("kernel", KERNELS)
def test_not_a_number_reaches_the_rows_that_gather_it_and_no_other(kernel):
    dense = torch.tensor([[1.0], [torch.nan], [torch.inf]])
    weights = sp.csr_array([[1.0, 0, 0], [1, 1, 0], [0, 0, 2], [0, 0, 0]])
    product = kernel(weights, CPU, torch.float32)(dense)
    torch.testing.assert_close(
        product, torch.tensor([[1.0], [torch.nan], [torch.inf], [0.0]]), equal_nan=True
    )


def test_each_kind_of_device_has_its_kernel():
    single, double = torch.float32, torch.float64
    assert kernel_of(torch.device("cpu"), single) is BagKernel
    assert kernel_of(torch.device("cpu"), double) is CsrKernel
    assert kernel_of(torch.device("cuda", 0), single) is CsrKernel
    assert kernel_of(torch.device("mps"), single) is GatheringKernel


def test_operands_and_gradients_may_lie_in_memory_in_any_way():
    weights = np.arange(12.0).reshape(3, 4)
    matrix = SparseMatrix(sp.csr_array(weights), CPU, torch.float32)
    dense = torch.randn(5, 4).T.requires_grad_()
    product = matrix @ dense
    np.testing.assert_allclose(product.detach(), weights @ dense.detach().numpy(), rtol=1e-5)
    # Of a sum the gradient is one number, seen everywhere.
    product.sum().backward()
    np.testing.assert_allclose(dense.grad, weights.T @ np.ones((3, 5)), rtol=1e-6)


def test_the_second_derivative_is_that_of_the_dense_matrix():
    matrix = SparseMatrix(sp.csr_array(np.arange(6.0).reshape(2, 3)), CPU, torch.float64)
    dense = torch.randn(3, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda x: (matrix @ x) ** 3, dense)


def test_the_result_does_not_depend_on_the_number_of_threads():
    rng = np.random.default_rng(3)
    weights = sp.csr_array(rng.random((400, 300)) * (rng.random((400, 300)) < 0.1))
    matrix = SparseMatrix(weights, CPU, torch.float32)
    dense = torch.randn(300, 64)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = matrix @ dense
        torch.set_num_threads(3)
        together = matrix @ dense
    finally:
        torch.set_num_threads(before)
    assert torch.equal(alone, together)


def test_half_precision_input_is_multiplied_in_the_matrix_precision():
    matrix = SparseMatrix(sp.csr_array(np.eye(2)), CPU, torch.float32)
    assert (matrix @ torch.ones(2, 1, dtype=torch.bfloat16)).dtype == torch.float32


@pytest.mark.parametrize("kernel", KERNELS)
def test_under_autocast_product_and_gradient_keep_the_matrix_precision(kernel, monkeypatch):
    monkeypatch.setattr(sparse, "kernel_of", lambda *_: kernel)
    matrix = SparseMatrix(sp.csr_array(np.eye(2)), CPU, torch.float32)
    # One more bit than bfloat16 has.
    value = 1 + 2**-12
    dense = torch.full((2, 1), value, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        product = matrix @ dense
        (gradient,) = torch.autograd.grad(product, dense, torch.full((2, 1), value))
    assert product.tolist() == gradient.tolist() == [[value]] * 2


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("shape", [(2, 1), (4, 1), (3,), (3, 1, 1)])
def test_an_operand_that_does_not_fit_is_refused(kernel, shape, monkeypatch):
    monkeypatch.setattr(sparse, "kernel_of", lambda *_: kernel)
    matrix = SparseMatrix(sp.csr_array((2, 3)), CPU, torch.float32)
    with pytest.raises(ValueError, match=r"a matrix of \(2, 3\) times a tensor of"):
        matrix @ torch.ones(shape)


def test_a_matrix_keeps_nothing_of_what_it_was_made_from():
    given_ = sp.csr_array(np.array([[1.0, 2.0]], dtype=np.float32))
    matrix = SparseMatrix(given_, CPU, torch.float32)
    given_.data[:], given_.indices[:] = 0, 0
    assert (matrix @ torch.eye(2)).tolist() == [[1, 2]]


def matrices(*patterns: list[list[int]]) -> list[SparseMatrix]:
    return [
        SparseMatrix(sp.csr_array(np.array(p, dtype=float)), CPU, torch.float32) for p in patterns
    ]


def test_rows_with_an_entry_in_some_matrix_are_told():
    some = matrices([[0, 1], [0, 0], [0, 0], [0, 0]], [[0, 0], [0, 0], [1, 1], [0, 0]])
    assert rows_with_entries(some, CPU).tolist() == [0, 2]
    assert rows_with_entries(matrices([[0], [0]]), CPU).tolist() == []


def test_nearly_all_rows_are_not_picked():
    assert rows_with_entries(matrices([[1], [1], [1], [0]]), CPU).tolist() == [0, 1, 2]
    assert rows_with_entries(matrices([[1], [1], [1], [1], [0]]), CPU) is None
    assert rows_with_entries([], CPU) is None


def test_a_matrix_without_rows_has_none_to_pick():
    nothing = SparseMatrix(sp.csr_array((0, 2)), CPU, torch.float32)
    assert rows_with_entries([nothing], CPU).tolist() == []


@pytest.mark.parametrize("shape", [(3, 4), (3, 0), (0, 3)])
def test_a_device_s_products_are_the_cpu_s(shape, accelerator):
    weights = np.arange(1.0, 1 + np.prod(shape)).reshape(shape)
    upstream = torch.randn(shape[0], 5)
    results = []
    for device in (CPU, accelerator):
        matrix = SparseMatrix(sp.csr_array(weights), device, torch.float32)
        dense = torch.linspace(-1, 1, 5 * shape[1]).view(5, shape[1]).T.to(device).requires_grad_()
        with torch.autocast(device.type, dtype=torch.bfloat16):
            product = matrix @ dense
        (gradient,) = torch.autograd.grad(product, dense, upstream.to(device))
        (expanded,) = torch.autograd.grad((matrix @ dense).sum(), dense)
        results.append([tensor.detach().cpu() for tensor in (product, gradient, expanded)])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
