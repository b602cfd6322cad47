import numpy as np
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from extract.errors import InputError
from mmssl.data.sampling import BatchSampler, InteractionSampler, distinct


def sampler(observed: np.ndarray, batch_users: int = 4, seed: int = 0) -> BatchSampler:
    return BatchSampler(sp.csr_array(observed), batch_users, torch.Generator().manual_seed(seed))


@given(arrays(np.int8, (6, 5), elements=st.integers(0, 1)), st.integers(1, 8))
@settings(max_examples=60)
def test_batches_hold_distinct_users_observed_positives_and_unobserved_negatives(observed, size):
    degrees = observed.sum(1)
    usable = set(np.flatnonzero((degrees > 0) & (degrees < 5)).tolist())
    if not usable:
        with pytest.raises(InputError, match="no user can be trained on"):
            sampler(observed, size)
        return
    batches = sampler(observed, size)
    for _ in range(5):
        batch = batches.draw()
        users = batch.users.tolist()
        assert len(users) == len(set(users)) == min(size, len(usable))
        assert set(users) <= usable
        assert observed[batch.users, batch.positives].all()
        assert not observed[batch.users, batch.negatives].any()


def test_an_epoch_has_interactions_over_batch_plus_one_steps():
    observed = np.zeros((10, 10), dtype=np.int8)
    observed[:, :3] = 1
    assert len(sampler(observed, batch_users=4)) == 30 // 4 + 1


def test_the_same_seed_draws_the_same_batches_and_another_does_not():
    observed = np.tril(np.ones((20, 20), dtype=np.int8), -1)
    first, again, other = (sampler(observed, 8, seed).draw() for seed in (1, 1, 2))
    assert torch.equal(first.users, again.users)
    assert torch.equal(first.negatives, again.negatives)
    assert not torch.equal(first.users, other.users)


def test_positives_and_negatives_are_uniform():
    observed = np.zeros((1, 8), dtype=np.int8)
    observed[0, :4] = 1
    batches = sampler(observed)
    drawn = [batches.draw() for _ in range(4000)]
    for side, items in (("positives", range(4)), ("negatives", range(4, 8))):
        counts = np.bincount([int(getattr(b, side)[0]) for b in drawn], minlength=8)
        # 1000 expected each; five standard deviations of the binomial are 137.
        assert all(abs(counts[i] - 1000) < 137 for i in items)
        assert counts.sum() == counts[list(items)].sum()


@pytest.mark.parametrize(
    "observed_items", [range(1, 400), range(399), [*range(150), *range(152, 400)]]
)
def test_a_user_who_has_seen_nearly_everything_gets_what_is_left(observed_items):
    observed = np.zeros((1, 400), dtype=np.int8)
    observed[0, list(observed_items)] = 1
    left = set(range(400)) - set(observed_items)
    batches = sampler(observed)
    assert {int(batches.draw().negatives[0]) for _ in range(40)} == left
    assert {batches._negatives._unobserved(0) for _ in range(40)} == left


@pytest.mark.parametrize("n", [6, 100_000])  # a permutation; first occurrences
def test_distinct_numbers_are_uniform_and_leave_out_what_they_should(n):
    generator = torch.Generator().manual_seed(0)
    without = torch.tensor([1, n - 1])
    drawn = torch.stack([distinct(n, 2, generator, without) for _ in range(3000)])
    assert (drawn[:, 0] != drawn[:, 1]).all()
    assert not torch.isin(drawn, without).any()
    # Each position by itself, in thirds of the range: of six numbers 0 | 2, 3 | 4 are left. Five
    # standard deviations of 1000 expected are 129, of 1500 expected 137.
    for position in range(2):
        counts = torch.bincount(drawn[:, position] * 3 // n, minlength=3)
        expected = torch.tensor([750, 1500, 750] if n == 6 else [1000] * 3)
        assert (abs(counts - expected) < 140).all(), counts


@pytest.mark.parametrize("count", [1, 1024, 9000])
def test_as_many_distinct_numbers_come_as_are_wanted(count):
    generator = torch.Generator().manual_seed(0)
    without = torch.arange(0, 20_000, 2)
    drawn = distinct(40_000, count, generator, without)
    assert len(drawn) == len(drawn.unique()) == count
    assert not torch.isin(drawn, without).any()
    assert 0 <= drawn.min() <= drawn.max() < 40_000


def test_a_batch_of_many_users_is_drawn_without_a_permutation_of_all(monkeypatch):
    observed = sp.csr_array(
        (np.ones(100_000, np.int8), (np.arange(100_000), np.arange(100_000) % 7)), (100_000, 9)
    )
    batches = BatchSampler(observed, 64, torch.Generator().manual_seed(0))
    monkeypatch.setattr(torch, "randperm", lambda *_, **__: pytest.fail("all users permuted"))
    batch = batches.draw()
    assert len(batch.users.unique()) == 64
    assert torch.equal(batch.positives, batch.users % 7)


# --- batches of interactions ---------------------------------------------------------------------


def pairs_of(batches) -> list[tuple[int, int]]:
    return [
        pair
        for batch in batches
        for pair in zip(batch.users.tolist(), batch.positives.tolist(), strict=True)
    ]


def test_every_interaction_comes_once_an_epoch_with_an_unobserved_negative():
    observed = (np.random.default_rng(0).random((30, 12)) < 0.4).astype(np.int8)
    observed[3] = 1  # has no negative, and is left out
    interactions = InteractionSampler(sp.csr_array(observed), 16, torch.Generator().manual_seed(0))
    usable = observed.copy()
    usable[3] = 0
    wanted = sorted(zip(*(axis.tolist() for axis in usable.nonzero()), strict=True))
    epochs = [[interactions.draw() for _ in range(len(interactions))] for _ in range(3)]
    for batches in epochs:
        assert sorted(pairs_of(batches)) == wanted
        assert [len(b.users) for b in batches[:-1]] == [16] * (len(batches) - 1)
        for batch in batches:
            assert not observed[batch.users, batch.negatives].any()
    assert pairs_of(epochs[0]) != pairs_of(epochs[1])


def test_negatives_of_an_interaction_are_uniform():
    observed = np.zeros((1, 6), dtype=np.int8)
    observed[0, [0, 4]] = 1
    interactions = InteractionSampler(sp.csr_array(observed), 2, torch.Generator().manual_seed(0))
    drawn = torch.cat([interactions.draw().negatives for _ in range(1000)])
    counts = torch.bincount(drawn, minlength=6)
    # Five standard deviations of 500 expected are 97.
    assert counts[[0, 4]].tolist() == [0, 0]
    assert (abs(counts[[1, 2, 3, 5]] - 500) < 97).all()


def test_an_epoch_goes_on_where_its_state_was_taken():
    observed = sp.csr_array((np.random.default_rng(1).random((20, 9)) < 0.4).astype(np.int8))
    generator = torch.Generator().manual_seed(0)
    one = InteractionSampler(observed, 8, generator)
    for _ in range(3):
        one.draw()
    state, draws = one.state(), generator.get_state()
    rest = [one.draw() for _ in range(2 * len(one))]
    other = InteractionSampler(observed, 8, torch.Generator())
    other.restore(state)
    other._generator.set_state(draws)
    again = [other.draw() for _ in range(2 * len(one))]
    assert pairs_of(rest) == pairs_of(again)
    assert all(torch.equal(a.negatives, b.negatives) for a, b in zip(rest, again, strict=True))


def test_interactions_of_users_who_have_everything_cannot_be_trained_on():
    with pytest.raises(InputError, match="no user can be trained on"):
        InteractionSampler(sp.csr_array(np.ones((2, 3))), 4, torch.Generator())
