import numpy as np
import scipy.sparse as sp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mmssl.model.relations import learned_relations, neighbours_per_user, union
from mmssl.vectors import TwoSided


def test_at_least_one_neighbour_on_a_small_catalogue():
    """Fault 4: int(1e-4 * I) is zero below 10,000 items."""
    assert neighbours_per_user(1e-4, 500) == 1
    assert neighbours_per_user(0.0015, 6710) == 10


@given(
    arrays(np.int8, (4, 6), elements=st.integers(0, 1)),
    st.sampled_from([0.1, 0.34, 0.5, 1.0]),
    st.integers(0, 100),
)
@settings(max_examples=60)
def test_every_user_with_history_is_joined_to_the_best_unobserved_items(observed, rate, seed):
    draw = np.random.default_rng(seed)
    # Small integers, so that ties are frequent.
    user, item = draw.integers(-2, 3, (4, 2)), draw.integers(-2, 3, (6, 2))
    sides = TwoSided(torch.as_tensor(user).double(), torch.as_tensor(item).double())
    edges = learned_relations(sides, sp.csr_array(observed), neighbours_per_user(rate, 6)).toarray()
    k = max(1, round(rate * 6))
    for u in range(4):
        wanted = []
        if observed[u].any():
            free = [i for i in range(6) if not observed[u, i]]
            wanted = sorted(free, key=lambda i: (-(user[u] @ item[i]), i))[:k]
        assert np.flatnonzero(edges[u]).tolist() == sorted(wanted)


def test_edges_join_each_user_with_its_own_items():
    """Fault 5: with k > 1 nearly all published edges join the wrong pair."""
    user = torch.eye(3).repeat_interleave(1, 0)
    item = torch.eye(3).repeat(2, 1)  # items 0 and 3 are user 0's, 1 and 4 user 1's, ...
    observed = sp.csr_array(np.array([[0, 1, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0]]))
    edges = learned_relations(TwoSided(user, item), observed, 2).toarray()
    assert [np.flatnonzero(row).tolist() for row in edges] == [[0, 3], [1, 4], [2, 5]]


def test_union_keeps_every_edge_once():
    learned = sp.csr_array(np.array([[1.0, 0, 1]]))
    observed = sp.csr_array(np.array([[1.0, 1, 0]]))
    assert union(learned, observed).toarray().tolist() == [[1, 1, 1]]


def test_some_users_get_the_edges_that_they_have_among_all():
    draw = torch.Generator().manual_seed(0)
    sides = TwoSided(torch.randn(9, 3, generator=draw), torch.randn(20, 3, generator=draw))
    observed = sp.csr_array(np.eye(9, 20))
    everybody = learned_relations(sides, observed, 4).toarray()
    some = learned_relations(sides, observed, 4, users=np.array([2, 7])).toarray()
    np.testing.assert_array_equal(some[[2, 7]], everybody[[2, 7]])
    assert some.sum() == 2 * 4
