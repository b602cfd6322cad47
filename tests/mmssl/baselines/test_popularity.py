import numpy as np
import torch
from scipy.sparse import csr_array

from mmssl.baselines.popularity import Popularity, PopularityConfig, popularity_score
from mmssl.evaluation.ranking import top_k

TRAIN = csr_array(np.array([[1, 0, 1, 0], [0, 0, 1, 0], [1, 0, 1, 1]], dtype=np.float32))


def model(train=TRAIN) -> Popularity:
    return Popularity(PopularityConfig(), train, {}, torch.Generator())


def test_items_are_ranked_by_their_number_of_training_users():
    assert model().score()(torch.tensor([2, 0])).tolist() == [[2, 0, 3, 1]] * 2
    items, scores = top_k(model().score(), np.arange(3), TRAIN, 2)
    # User 0 has items 0 and 2, user 1 has 2, user 2 all but 1.
    assert items.tolist() == [[3, 1], [0, 3], [1, -1]]
    assert scores[:2].tolist() == [[1, 0], [2, 1]]


def test_its_vectors_and_the_function_score_alike():
    users, items = model().embeddings()
    assert (users @ items.T).tolist() == [[2, 0, 3, 1]] * 3
    assert popularity_score(TRAIN)(torch.tensor([1])).tolist() == [[2, 0, 3, 1]]


def test_a_block_may_be_overwritten():
    one = model(csr_array(np.eye(3, dtype=np.float32)))
    one.score()(torch.tensor([0, 1]))[:] = -torch.inf
    assert one.score()(torch.tensor([0])).tolist() == [[1, 1, 1]]


def test_there_is_nothing_to_learn():
    assert model().losses(batch=None) == {}
