import numpy as np
import pytest
import torch

from mmssl.data.sampling import Batch
from mmssl.model.critic_block import CriticBlock, draw_block
from mmssl.vectors import TwoSided

USERS = torch.tensor([3, 9, 4, 7, 1])
POSITIVES = torch.tensor([0, 2, 2, 11, 5])


def draw(users: int, items: int, seed: int = 0, n_items: int = 12) -> CriticBlock:
    return draw_block(
        Batch(USERS, POSITIVES, torch.zeros(5, dtype=torch.int64)),
        n_items=n_items,
        users=users,
        items=items,
        modalities=3,
        generator=torch.Generator().manual_seed(seed),
        dtype=torch.float64,
    )


def test_shapes_and_types_of_a_block():
    block = draw(users=4, items=7)
    assert (block.users.shape, block.items.shape) == ((4,), (7,))
    assert (block.uniform.shape, block.epsilon.shape) == ((4, 7), (12, 1))
    assert block.uniform.dtype == block.epsilon.dtype == torch.float64
    for draws in (block.uniform, block.epsilon):
        assert ((draws >= 0) & (draws < 1)).all()
        assert len(draws.unique()) == draws.numel()


@pytest.mark.parametrize("seed", range(10))
def test_a_block_is_some_users_their_positives_and_others_ascending(seed):
    block = draw(users=3, items=6, seed=seed)
    of = dict(zip(USERS.tolist(), POSITIVES.tolist(), strict=True))
    users, items = block.users.tolist(), block.items.tolist()
    assert len(set(users)) == 3
    assert set(users) <= set(of)
    assert items == sorted(set(items))
    assert {of[user] for user in users} <= set(items) <= set(range(12))


def test_all_items_are_all_of_them_and_all_users_are_the_batch():
    block = draw(users=1024, items=12)
    assert block.items.tolist() == list(range(12))
    assert sorted(block.users.tolist()) == sorted(USERS.tolist())


def test_every_user_and_every_other_item_has_the_same_chance():
    blocks = [draw(users=2, items=4, seed=seed) for seed in range(3000)]
    users = np.bincount(np.concatenate([b.users for b in blocks]), minlength=10)[USERS]
    np.testing.assert_allclose(users / 3000, 2 / 5, atol=0.03)
    items = np.bincount(np.concatenate([b.items for b in blocks]), minlength=12) / 3000
    others = np.setdiff1d(np.arange(12), POSITIVES)
    np.testing.assert_allclose(items[others], items[others].mean(), atol=0.03)
    assert items.sum() == pytest.approx(4)


def test_rows_are_equation_3_of_the_blocks_users_and_items():
    """normalise((F_u F_i^T)[u, S] (1 - R[u, S])), by numpy."""
    draws = np.random.default_rng(0)
    user, item = draws.normal(size=(10, 4)), draws.normal(size=(12, 4))
    block = draw(users=4, items=7)
    observed = (draws.random((4, 7)) < 0.3).astype(float)
    side = TwoSided(torch.as_tensor(user), torch.as_tensor(item))
    for mask in (True, False):
        by_hand = (user @ item.T)[np.ix_(block.users, block.items)]
        by_hand = by_hand * (1 - observed) if mask else by_hand
        by_hand /= np.linalg.norm(by_hand, axis=1, keepdims=True)
        rows = block.rows(side, torch.as_tensor(observed), mask_observed=mask)
        np.testing.assert_allclose(rows, by_hand, rtol=1e-12)
