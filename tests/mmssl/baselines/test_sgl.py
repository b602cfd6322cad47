import numpy as np
import pytest
import torch
from scipy.sparse import csr_array

from mmssl.baselines.sgl import SGL, SGLConfig, drop_edges
from mmssl.data.sampling import Batch

# User 6 and item 5 have no interaction.
OBSERVED = np.array(
    [
        [1, 1, 0, 0, 1, 0],
        [0, 1, 1, 0, 0, 0],
        [0, 0, 0, 1, 1, 0],
        [1, 0, 1, 1, 0, 0],
        [0, 1, 0, 0, 0, 0],
        [1, 0, 1, 0, 1, 0],
        [0, 0, 0, 0, 0, 0],
    ],
    dtype=np.float32,
)
# User 2 and item 4 stand there twice.
BATCH = Batch(torch.tensor([2, 0, 5, 2]), torch.tensor([4, 1, 4, 3]), torch.tensor([0, 2, 5, 5]))


def model(observed=OBSERVED, **settings) -> SGL:
    config = SGLConfig.model_validate({"embedding_dim": 4, "edge_dropout": 0.3, **settings})
    torch.manual_seed(0)
    draws = torch.Generator().manual_seed(5)
    return SGL(config, csr_array(observed), {}, draws, dtype=torch.float64)


def propagated(observed: np.ndarray, users, items, layers: int):
    """Mean of the layers, with the degrees of these edges."""
    over = np.sqrt(np.outer(observed.sum(axis=1), observed.sum(axis=0)))
    graph = np.divide(observed, over, out=np.zeros(observed.shape), where=over > 0)
    all_users, all_items = [users], [items]
    for _ in range(layers):
        users, items = graph @ items, graph.T @ users
        all_users.append(users)
        all_items.append(items)
    return np.mean(all_users, axis=0), np.mean(all_items, axis=0)


def contrast(one, other, nodes, negatives, tau) -> float:
    """Mean over nodes of -log of the node's share among the negatives and itself."""

    def similarity(i, j):
        a, b = one[i], other[j]
        return np.exp(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)) / tau)

    shares = [similarity(i, i) / sum(similarity(i, j) for j in negatives) for i in nodes]
    return float(-np.log(shares).mean())


@pytest.mark.parametrize("negatives", ["all", "batch"])
def test_its_objective_with_the_views_held_fixed(negatives):
    sgl = model(contrast_negatives=negatives, contrast_weight=0.7, temperature=0.4, layers=2)
    sgl.begin_epoch(1)
    parts = sgl.losses(BATCH)
    start = sgl.user_id.detach().numpy(), sgl.item_id.detach().numpy()
    views = [propagated(view.edges.toarray(), *start, 2) for view in sgl._views]
    for side, nodes, everyone in ((0, {0, 2, 5}, range(7)), (1, {1, 3, 4}, range(6))):
        among = everyone if negatives == "all" else nodes
        wanted = 0.7 * contrast(views[0][side], views[1][side], nodes, among, 0.4)
        name = ("user_contrast", "item_contrast")[side]
        assert parts[name].item() == pytest.approx(wanted, rel=1e-6)
    # What is ranked and scored is propagated along all edges.
    users, items = propagated(OBSERVED, *start, 2)
    margins = [users[u] @ (items[p] - items[n]) for u, p, n in zip(*rows(), strict=True)]
    assert parts["bpr"].item() == pytest.approx(np.log1p(np.exp(-np.array(margins))).mean())
    found = [side.detach().numpy() for side in sgl.final()]
    np.testing.assert_allclose(found[0], users, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(found[1], items, rtol=1e-6, atol=1e-9)
    squares = sum(
        (start[0][u] ** 2).sum() + (start[1][p] ** 2).sum() + (start[1][n] ** 2).sum()
        for u, p, n in zip(*rows(), strict=True)
    )
    assert parts["embedding_l2"].item() == pytest.approx(1e-4 * 0.5 * squares / 4)
    assert set(parts) == {"bpr", "embedding_l2", "user_contrast", "item_contrast"}


def rows():
    return BATCH.users.tolist(), BATCH.positives.tolist(), BATCH.negatives.tolist()


def test_every_epoch_has_two_views_of_its_own():
    sgl = model(np.ones((20, 15), dtype=np.float32))
    drawn = []
    for epoch in (1, 2):
        sgl.begin_epoch(epoch)
        drawn += [view.edges.toarray() for view in sgl._views]
    assert len({view.tobytes() for view in drawn}) == 4


def test_views_are_drawn_from_the_models_generator_alone():
    def views(seed):
        sgl = model()
        torch.manual_seed(seed)
        sgl.begin_epoch(1)
        return [view.edges.toarray() for view in sgl._views]

    np.testing.assert_array_equal(views(1), views(2))


def test_the_views_of_an_interrupted_epoch_are_made_again():
    sgl = model()
    for epoch in (1, 2):
        sgl.begin_epoch(epoch)
    other = model()
    other.begin_epoch(1)
    other.restore_training_state(*sgl.training_state())
    wanted = [view.edges.toarray() for view in sgl._views]
    np.testing.assert_array_equal([view.edges.toarray() for view in other._views], wanted)


def test_before_its_first_epoch_there_are_no_views_to_make_again():
    other = model()
    other.restore_training_state(*model().training_state())
    assert not other._views


def test_edges_are_left_out_at_the_rate_given():
    edges = csr_array(np.ones((100, 200), dtype=np.float32))
    kept = drop_edges(edges, 0.3, torch.Generator().manual_seed(0)).toarray()
    assert set(np.unique(kept)) == {0, 1}
    # Four standard deviations of 20,000 draws.
    assert kept.mean() == pytest.approx(0.7, abs=4 * (0.3 * 0.7 / 20_000) ** 0.5)
    # No user and no item has more than its share of them: ten draws' worth of deviation.
    assert np.ptp(kept.sum(axis=1)) < 80
    assert np.ptp(kept.sum(axis=0)) < 60


def test_only_edges_are_kept_and_at_rate_zero_all_of_them():
    edges = csr_array(OBSERVED)
    kept = drop_edges(edges, 0.5, torch.Generator().manual_seed(0)).toarray()
    assert (kept <= OBSERVED).all()
    every = drop_edges(edges, 0.0, torch.Generator().manual_seed(0))
    np.testing.assert_array_equal(every.toarray(), OBSERVED)
