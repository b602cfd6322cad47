import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.sparse import csr_array

from mmssl.data.dataset import Interactions
from mmssl.evaluation import ranks
from mmssl.evaluation.evaluate import evaluate_scores
from mmssl.evaluation.ranking import InnerProduct
from mmssl.evaluation.ranks import RelevantItems, may_have_hits, ranks_of
from mmssl.processes import ONE, Processes


def relevant_of(mask: np.ndarray) -> RelevantItems:
    users, items = mask.nonzero()
    return RelevantItems.of(
        Interactions(users.astype(np.int64), items.astype(np.int64)), mask.shape[1]
    )


def slow_rank(scores: np.ndarray, item: int, deepest: int) -> int:
    """By Python's own sort; 0 beyond ``deepest`` and for what is no candidate."""
    order = sorted(range(len(scores)), key=lambda other: (-scores[other], other))
    rank = order.index(item) + 1
    return rank if rank <= deepest and scores[item] > -np.inf else 0


@st.composite
def cases(draw):
    shape = draw(st.integers(1, 6)), draw(st.integers(1, 12))
    # Few distinct values, so that ties are everywhere, and some that are no candidates.
    values = st.sampled_from([-np.inf, -2.0, 0.0, 1.0, 3.5])
    scores = draw(hnp.arrays(np.float32, shape, elements=values))
    relevant = draw(hnp.arrays(np.bool_, shape))
    # Every row of the scores is some user's.
    relevant[
        np.arange(shape[0]),
        draw(hnp.arrays(np.int64, shape[0], elements=st.integers(0, shape[1] - 1))),
    ] = True
    return scores, relevant, draw(st.integers(1, 14))


@given(cases())
def test_ranks_are_those_of_a_full_sort(case):
    scores, mask, deepest = case
    relevant = relevant_of(mask)
    table = torch.from_numpy(scores.copy())
    found = ranks_of(relevant, table, deepest, torch.empty_like(table))
    expected = [
        slow_rank(scores[user], item, deepest) for user, item in zip(*mask.nonzero(), strict=True)
    ]
    assert found.tolist() == expected
    assert (table.numpy() == scores).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_ranks_do_not_depend_on_the_type_of_the_scores(dtype):
    # 1,000 items score higher: more than half precision can count in steps of one.
    scores = torch.ones(1, 1500)
    scores[0, 1000:] = 0
    relevant = relevant_of(np.arange(1500)[None] == 1001)
    table = scores.to(dtype)
    assert ranks_of(relevant, table, 1500, torch.empty_like(table)).tolist() == [1002]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_score_that_is_no_number_has_no_rank(bad):
    scores = torch.zeros(2, 5)
    scores[1, 3] = bad
    with pytest.raises(FloatingPointError, match="diverged"):
        ranks_of(relevant_of(np.eye(2, 5, dtype=bool)), scores, 2, torch.empty_like(scores))


def test_relevant_items_by_user():
    pairs = Interactions(np.array([4, 1, 4, 4]), np.array([2, 0, 1, 2]))
    relevant = RelevantItems.of(pairs, 5)
    assert relevant.users.tolist() == [1, 4]
    assert relevant.items.tolist() == [0, 1, 2]
    assert relevant.counts.tolist() == [1, 2]
    assert relevant.owners.tolist() == [0, 1, 1]
    assert relevant.part(slice(1, 2)).items.tolist() == [1, 2]
    assert relevant.part(slice(1, 2)).ends.tolist() == [0, 2]
    kept = relevant.of_users(np.array([False, True]))
    assert (kept.users.tolist(), kept.items.tolist(), kept.ends.tolist()) == ([4], [1, 2], [0, 2])


@st.composite
def vector_cases(draw):
    n_users, n_items = draw(st.integers(1, 6)), draw(st.integers(1, 90))
    numbers = st.integers(-3, 3)
    users = draw(hnp.arrays(np.int8, (n_users, 2), elements=numbers)).astype(np.float32)
    items = draw(hnp.arrays(np.int8, (n_items, 2), elements=numbers)).astype(np.float32)
    seed = draw(st.integers(0, 2**16))
    generator = np.random.default_rng(seed)
    exclude = generator.random((n_users, n_items)) < draw(st.sampled_from([0.0, 0.1, 0.6]))
    relevant = generator.random((n_users, n_items)) < draw(st.sampled_from([0.02, 0.2]))
    relevant[0, 0] = True
    return (
        torch.from_numpy(users),
        torch.from_numpy(items),
        exclude,
        relevant,
        draw(st.integers(1, 4)),
    )


@given(vector_cases())
def test_a_glance_never_hides_a_hit(case):
    """Figures are those of the full rankings, whose scores come from a function that hides how."""
    users, items, exclude, mask, k = case
    rows, columns = mask.nonzero()
    pairs = Interactions(rows.astype(np.int64), columns.astype(np.int64))
    left_out = csr_array(exclude.astype(np.float32))
    score = InnerProduct(users, items)
    glanced = evaluate_scores(score, pairs, left_out, ks=[1, k])
    full = evaluate_scores(lambda asked: score(asked), pairs, left_out, ks=[1, k])
    assert glanced.metrics == full.metrics
    assert all((glanced.per_user[name] == full.per_user[name]).all() for name in full.per_user)


def random_score(n_users: int = 300, n_items: int = 2000) -> InnerProduct:
    generator = torch.Generator().manual_seed(0)
    # A common direction, as popularity gives it to trained vectors.
    users = torch.randn(n_users, 8, generator=generator) + 1
    return InnerProduct(users, torch.randn(n_items, 8, generator=generator) + 0.2)


def test_most_users_without_a_hit_are_found_at_a_glance():
    score, nothing = random_score(), np.zeros(300, dtype=np.int64)
    # User j's relevant item stands at rank j + 1.
    best_first = score(torch.arange(300)).argsort(dim=1, descending=True).numpy()
    mask = np.zeros((300, 2000), dtype=bool)
    mask[np.arange(300), best_first[np.arange(300), np.arange(300)]] = True
    relevant = relevant_of(mask)
    may = may_have_hits(score, relevant, nothing, 20, ONE)
    assert may[:20].all()
    assert may.sum() < 100
    # So long a list, or so few items, that a sixteenth of them fill none.
    assert may_have_hits(score, relevant, nothing, 125, ONE).all()
    # Items that are no candidates could be all that was looked at.
    assert may_have_hits(score, relevant, nothing + 125, 20, ONE).all()


def test_what_rounding_could_have_done_proves_nothing():
    """Every item scores the same but for rounding: whoever is looked at is not better for sure."""
    users = torch.full((1, 64), 0.1)
    items = torch.full((1000, 64), 0.1)
    items[1:, 0] += 1e-8 * torch.arange(999)
    relevant = relevant_of(np.arange(1000)[None] == 0)
    assert may_have_hits(InnerProduct(users, items), relevant, np.zeros(1, np.int64), 5, ONE).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("side", ["users", "items"])
def test_broken_vectors_are_found_behind_the_glance(side, bad):
    score = random_score()
    getattr(score, side)[7, 3] = bad
    pairs = Interactions(np.arange(300), np.arange(300))
    nothing = csr_array((300, 2000), dtype=np.float32)
    with pytest.raises(FloatingPointError, match="diverged"):
        evaluate_scores(score, pairs, nothing, ks=[20])


@pytest.mark.parametrize(("of_users", "of_items"), [(1e-24, 1e12), (1e12, 1e-24), (1e15, 1e15)])
def test_vectors_whose_squares_under_or_overflow_hide_no_hit(of_users, of_items):
    plain = random_score()
    score = InnerProduct(plain.users * of_users, plain.items * of_items)
    best_first = score(torch.arange(300)).argsort(dim=1, descending=True).numpy()
    # Every user's relevant item is the last on the list.
    pairs = Interactions(np.arange(300), best_first[:, 19].copy())
    nothing = csr_array((300, 2000), dtype=np.float32)
    assert evaluate_scores(score, pairs, nothing, ks=[20]).metrics["recall@20"] == 1


class RoundedProduct(InnerProduct):
    """Factors rounded to bfloat16's eight bits, as torch multiplies when it is told to."""

    def __call__(self, rows):
        return (self.users[rows].bfloat16().float()) @ self.items.bfloat16().float().T


@pytest.mark.parametrize("set_for", ["all devices", "one device"])
def test_products_of_less_precision_hide_no_hit(set_for):
    generator = torch.Generator().manual_seed(1)
    users = torch.randn(300, 16, generator=generator)
    # Items so alike that the rounding decides on their order.
    items = torch.randn(16, generator=generator) + 1e-3 * torch.randn(2000, 16, generator=generator)
    score = RoundedProduct(users, items)
    best_first = score(torch.arange(300)).argsort(dim=1, descending=True, stable=True).numpy()
    pairs = Interactions(np.arange(300), best_first[:, 19].copy())
    nothing = csr_array((300, 2000), dtype=np.float32)
    before = torch.get_float32_matmul_precision()
    try:
        if set_for == "one device":
            torch.backends.cuda.matmul.fp32_precision = "tf32"
        else:
            torch.set_float32_matmul_precision("medium")
        found = evaluate_scores(score, pairs, nothing, ks=[20]).metrics["recall@20"]
    finally:
        torch.backends.cuda.matmul.fp32_precision = "ieee"
        torch.set_float32_matmul_precision(before)
    assert found == 1
    # What was told to torch is what makes the difference.
    assert evaluate_scores(score, pairs, nothing, ks=[20]).metrics["recall@20"] < 1


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_vectors_of_half_precision_get_full_rankings(dtype):
    score = InnerProduct(*(side.to(dtype) for side in (random_score().users, random_score().items)))
    relevant = relevant_of(np.eye(300, 2000, dtype=bool))
    assert may_have_hits(score, relevant, np.zeros(300, np.int64), 20, ONE).all()


def test_users_with_many_relevant_items_get_full_rankings():
    mask = np.zeros((300, 2000), dtype=bool)
    mask[:, 0] = True
    mask[7, :65] = True
    score, nothing = random_score(), np.zeros(300, dtype=np.int64)
    may = may_have_hits(score, relevant_of(mask), nothing, 20, ONE)
    assert may[7]
    assert may.sum() < 100


def test_the_flags_do_not_depend_on_how_many_processes_share_the_work(monkeypatch):
    # Blocks of a hundred users.
    monkeypatch.setattr(ranks, "_NUMBERS_PER_BLOCK", 100 * 64 * 8)

    class One(Processes):
        """One of several, whose sum is left to the test."""

        def summed(self, array):
            return array

    score, nothing = random_score(), np.zeros(300, dtype=np.int64)
    best_first = score(torch.arange(300)).argsort(dim=1, descending=True).numpy()
    mask = np.zeros((300, 2000), dtype=bool)
    mask[np.arange(300), best_first[np.arange(300), np.arange(300) % 200]] = True
    relevant = relevant_of(mask)
    alone = may_have_hits(score, relevant, nothing, 20, ONE)
    shares = [may_have_hits(score, relevant, nothing, 20, One(i, 3)) for i in range(3)]
    assert np.array_equal(np.any(shares, axis=0), alone)
    assert not any(np.array_equal(share, alone) for share in shares)
