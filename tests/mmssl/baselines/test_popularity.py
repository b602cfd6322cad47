import numpy as np
import torch
from scipy.sparse import csr_array

from mmssl.baselines.popularity import Popularity
from mmssl.evaluation.ranking import top_k


def test_items_are_ranked_by_their_number_of_training_users():
    train = csr_array(np.array([[1, 0, 1, 0], [0, 0, 1, 0], [1, 0, 1, 1]], dtype=np.float32))
    model = Popularity(train)
    assert model.score(torch.tensor([2, 0])).tolist() == [[2, 0, 3, 1]] * 2
    items, scores = top_k(model.score, np.arange(3), train, 2)
    # User 0 has items 0 and 2, user 1 has 2, user 2 all but 1.
    assert items.tolist() == [[3, 1], [0, 3], [1, -1]]
    assert scores[:2].tolist() == [[1, 0], [2, 1]]


def test_a_block_may_be_overwritten():
    model = Popularity(csr_array(np.eye(3, dtype=np.float32)))
    model.score(torch.tensor([0, 1]))[:] = -torch.inf
    assert model.score(torch.tensor([0])).tolist() == [[1, 1, 1]]


def test_there_is_nothing_to_learn():
    assert Popularity(csr_array(np.eye(2, dtype=np.float32))).losses(batch=None) == {}
