import numpy as np
import pytest
import torch

from mmssl.vectors import perturb, unit_rows


def test_rows_have_length_one_and_zeros_stay():
    rows = unit_rows(torch.tensor([[3.0, 4.0], [0.0, 0.0], [1e-20, 0.0]]))
    np.testing.assert_allclose(rows, [[0.6, 0.8], [0, 0], [0, 0]], rtol=1e-6)


def test_a_row_of_zeros_sends_no_gradient_and_another_sends_the_right_one():
    vectors = torch.tensor([[0.0, 0.0], [1.0, 2.0]], dtype=torch.float64, requires_grad=True)
    (unit_rows(vectors) * torch.tensor([[1.0, 1.0], [1.0, 0.0]])).sum().backward()
    assert vectors.grad[0].tolist() == [0, 0]
    # d (x / |x|) / dx = (y^2, -x y) / |x|^3
    np.testing.assert_allclose(vectors.grad[1], np.array([4.0, -2.0]) / 5**1.5)


def test_a_broken_row_stays_broken_and_breaks_no_other():
    units = unit_rows(torch.tensor([[torch.nan, 1.0], [3.0, 4.0]]))
    assert units[0].isnan().all()
    assert units[1].tolist() == pytest.approx([0.6, 0.8])


def test_noise_has_its_length_and_stays_in_the_orthant():
    draw = torch.Generator().manual_seed(0)
    vectors = torch.randn(50, 8, generator=draw, dtype=torch.float64)
    uniform = torch.rand(50, 8, generator=draw, dtype=torch.float64)
    noise = perturb(vectors, uniform, 0.2) - vectors
    np.testing.assert_allclose(noise.norm(dim=1).numpy(), np.full(50, 0.2))
    assert (noise * vectors >= 0).all()
    # Among the rows' proportions are the draws'.
    np.testing.assert_allclose(
        (noise.abs() / noise.abs().sum(dim=1, keepdim=True)).numpy(),
        (uniform / uniform.sum(dim=1, keepdim=True)).numpy(),
    )
