import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from extract.pooling import pool

TOKENS = torch.tensor(
    [[[1.0, -1.0], [3.0, -3.0], [100.0, 100.0]], [[2.0, 0.0], [4.0, 8.0], [6.0, 1.0]]]
)
MASK = torch.tensor([[True, True, False], [True, True, True]])


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("mean", [[2.0, -2.0], [4.0, 3.0]]),
        ("max", [[3.0, -1.0], [6.0, 8.0]]),
        ("cls", [[1.0, -1.0], [2.0, 0.0]]),
        ("last", [[3.0, -3.0], [6.0, 1.0]]),
    ],
)
def test_by_hand(how, expected):
    assert pool(TOKENS, MASK, how).tolist() == expected


def test_first_and_last_follow_the_mask_not_the_position():
    mask = torch.tensor([[False, True, True], [True, False, False]])
    assert pool(TOKENS, mask, "cls").tolist() == [[3.0, -3.0], [2.0, 0.0]]
    assert pool(TOKENS, mask, "last").tolist() == [[100.0, 100.0], [2.0, 0.0]]


def test_sums_in_float32_whatever_comes_in():
    tokens = torch.ones(1, 1000, 1, dtype=torch.bfloat16)
    tokens[0, 0] = 3.0
    pooled = pool(tokens, torch.ones(1, 1000, dtype=torch.bool), "mean")
    assert pooled.dtype == torch.float32
    assert pooled.item() == pytest.approx(1.002)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 6), min_size=1, max_size=5), st.integers(0, 2**32 - 1))
def test_padding_never_counts(lengths, seed):
    rng = np.random.default_rng(seed)
    rows = [rng.normal(size=(n, 3)) for n in lengths]
    padded = np.full((len(rows), max(lengths), 3), 1e6)
    mask = np.zeros(padded.shape[:2], dtype=bool)
    for i, row in enumerate(rows):
        padded[i, : len(row)] = row
        mask[i, : len(row)] = True
    for how, expected in (
        ("mean", [row.mean(0) for row in rows]),
        ("max", [row.max(0) for row in rows]),
        ("cls", [row[0] for row in rows]),
        ("last", [row[-1] for row in rows]),
    ):
        pooled = pool(torch.tensor(padded), torch.tensor(mask), how)
        np.testing.assert_allclose(pooled, np.stack(expected), rtol=1e-5, atol=1e-6)
