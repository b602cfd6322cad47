import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.sparse import csr_array, random_array

from mmssl.evaluation.ranking import (
    InnerProduct,
    added,
    product_deviation,
    rank_blocks,
    top_k,
    top_k_of_block,
)


def slow_list(scores: np.ndarray, excluded: set[int], k: int) -> list[int]:
    """Candidates by falling score, then rising row, by Python's own sort."""
    candidates = [item for item in range(len(scores)) if item not in excluded]
    return sorted(candidates, key=lambda item: (-scores[item], item))[:k]


def rows_of(scores: np.ndarray):
    table = torch.from_numpy(scores)
    return lambda users: table[users]


@st.composite
def rankings(draw):
    n_users, n_items = draw(st.integers(1, 7)), draw(st.integers(1, 12))
    shape = (n_users, n_items)
    # Few distinct values, so that ties fall on every boundary.
    scores = draw(hnp.arrays(np.float32, shape, elements=st.sampled_from([-2.0, 0.0, 1.0, 3.5])))
    seen = draw(hnp.arrays(np.bool_, shape))
    return scores, seen, draw(st.integers(1, 15)), draw(st.integers(1, 8))


@given(rankings())
def test_lists_are_those_of_a_full_sort_for_every_tie_and_block_size(case):
    scores, seen, k, block = case
    users = np.arange(len(scores))
    items, values = top_k(rows_of(scores), users, csr_array(seen.astype(np.float32)), k, block)
    width = min(k, scores.shape[1])
    assert items.shape == values.shape == (len(scores), width)
    assert items.dtype == np.int64
    assert values.dtype == np.float32
    for user in users:
        expected = slow_list(scores[user], set(seen[user].nonzero()[0]), k)
        assert items[user].tolist() == expected + [-1] * (width - len(expected))
        assert values[user, : len(expected)].tolist() == scores[user, expected].tolist()
        assert (values[user, len(expected) :] == -np.inf).all()


@pytest.mark.parametrize("block", [1, 7, 64, 1000, None])
def test_ranking_by_blocks_equals_ranking_at_once(block):
    generator = np.random.default_rng(0)
    # Whole numbers: the products are exact whatever the block's shape.
    users = torch.from_numpy(generator.integers(-9, 10, (200, 8)).astype(np.float32))
    items = torch.from_numpy(generator.integers(-9, 10, (300, 8)).astype(np.float32))
    exclude = csr_array(random_array((200, 300), density=0.1, rng=generator))
    wanted = generator.permutation(200)[:150]
    scores = (users @ items.T).numpy()
    scores[exclude.toarray() > 0] = -np.inf
    expected = np.lexsort((np.broadcast_to(np.arange(300), scores.shape), -scores))[wanted, :20]
    ranked, values = top_k(InnerProduct(users, items), wanted, exclude, 20, block)
    assert (ranked == expected).all()
    assert (values == np.take_along_axis(scores[wanted], expected, axis=1)).all()


def test_blocks_come_in_the_order_asked_for_and_with_their_users():
    scores = np.arange(12, dtype=np.float32).reshape(4, 3)
    nothing = csr_array((4, 3), dtype=np.float32)
    blocks = list(rank_blocks(rows_of(scores), np.array([3, 0, 2]), nothing, 1, block=2))
    assert [block.users.tolist() for block in blocks] == [[3, 0], [2]]
    assert [block.scores[:, 0].tolist() for block in blocks] == [[11.0, 2.0], [8.0]]


def test_memory_of_a_block_is_all_that_the_score_is_asked_for():
    asked = []

    def score(users):
        asked.append(len(users))
        return torch.arange(100_000).float().repeat(len(users), 1)

    nothing = csr_array((200, 100_000), dtype=np.float32)
    top_k(score, np.arange(200), nothing, 5)
    assert sum(asked) == 200
    assert max(asked) * 100_000 * 4 <= 32 * 2**20


def test_nobody_to_rank_gives_empty_lists():
    nothing = csr_array((3, 4), dtype=np.float32)
    items, values = top_k(rows_of(np.zeros((3, 4), np.float32)), np.array([], np.int64), nothing, 2)
    assert items.shape == values.shape == (0, 2)


def test_a_list_longer_than_the_catalogue_costs_no_memory():
    nothing = csr_array((3, 4), dtype=np.float32)
    scores = np.arange(12, dtype=np.float32).reshape(3, 4)
    items, values = top_k(rows_of(scores), np.arange(3), nothing, 10**12)
    assert items.tolist() == [[3, 2, 1, 0]] * 3
    assert (values == scores[:, ::-1]).all()
    assert top_k(rows_of(scores), np.arange(0), nothing, 10**12)[0].shape == (0, 4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_types_of_the_result_do_not_depend_on_those_of_the_scores(dtype):
    scores = torch.tensor([[0.5, 2.0, 2.0, -1.0]], dtype=dtype)
    nothing = csr_array((1, 4), dtype=np.float32)
    items, values = top_k(lambda users: scores[users], np.array([0]), nothing, 3)
    assert items.dtype == np.int64
    assert values.dtype == np.float32
    assert items.tolist() == [[1, 2, 0]]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_score_that_is_no_number_is_not_ranked(bad):
    scores = torch.zeros(2, 5)
    scores[1, 3] = bad
    with pytest.raises(FloatingPointError, match="diverged"):
        top_k_of_block(scores, 2)


def test_a_score_of_the_wrong_shape_is_refused():
    with pytest.raises(ValueError, match=r"scores of \(2, 3\), not \(2, 4\)"):
        top_k(
            lambda users: torch.zeros(len(users), 3),
            np.arange(2),
            csr_array((2, 4), dtype=np.float32),
            1,
        )


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_device_gives_the_lists_of_the_cpu():
    generator = torch.Generator().manual_seed(0)
    users = torch.randint(-5, 6, (50, 4), generator=generator).float()
    items = torch.randint(-5, 6, (80, 4), generator=generator).float()
    exclude = csr_array(random_array((50, 80), density=0.2, rng=np.random.default_rng(0)))
    rows = np.arange(50)
    on_cpu = top_k(InnerProduct(users, items), rows, exclude, 10)
    on_cuda = top_k(InnerProduct(users.cuda(), items.cuda()), rows, exclude, 10)
    assert (on_cpu[0] == on_cuda[0]).all()
    assert (on_cpu[1] == on_cuda[1]).all()


def test_a_full_ranking_of_tiktok_s_size_takes_about_a_second_at_most():
    import time

    generator = torch.Generator().manual_seed(0)
    score = InnerProduct(
        torch.randn(9_308, 64, generator=generator), torch.randn(6_710, 64, generator=generator)
    )
    exclude = csr_array(random_array((9_308, 6_710), density=0.001, rng=np.random.default_rng(0)))
    start = time.perf_counter()
    top_k(score, np.arange(6_130), exclude, 50)
    # 0.2 s on 2 idle cores; the margin is for a machine busy with other tests.
    assert time.perf_counter() - start < 5


def test_scores_are_added_and_the_second_stays_as_it_was():
    other = torch.full((2, 2), 2.0)
    together = added([lambda _: torch.ones(2, 2), lambda _: other])
    assert together(torch.tensor([2, 0])).tolist() == [[3, 3], [3, 3]]
    assert other.eq(2).all()


def test_the_deviation_of_products_needs_no_product():
    draw = torch.Generator().manual_seed(0)
    users = torch.randn(40, 5, generator=draw) + 0.3
    items = torch.randn(30, 5, generator=draw) - 0.1
    wanted = (users.double() @ items.double().T).std(correction=0)
    assert product_deviation(users, items) == pytest.approx(float(wanted), rel=1e-9)
    assert product_deviation(torch.ones(2, 3), torch.ones(4, 3)) == 0
