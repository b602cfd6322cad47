import numpy as np
import torch
from scipy.sparse import csr_array

from mmssl.baselines.random_walk import RandomWalk, RandomWalkConfig

# Item 1 has users 0 and 1; user 1 has three items; item 3 has no user.
TRAIN = csr_array(np.array([[1, 1, 0, 0], [1, 1, 1, 0]], dtype=np.float32))


def model(**settings) -> RandomWalk:
    return RandomWalk(RandomWalkConfig(**settings), TRAIN, {}, torch.Generator())


def test_chances_and_scores_by_hand():
    one = model(steps=1)
    # From item 0 by either user: 1/2 (1/2 item 1) + 1/2 (1/3 item 1, 1/3 item 2).
    wanted = np.zeros((4, 4))
    wanted[0, 1] = wanted[1, 0] = 1 / 4 + 1 / 6
    wanted[0, 2] = wanted[1, 2] = 1 / 6
    wanted[2, 0] = wanted[2, 1] = 1 / 3
    np.testing.assert_allclose(one.item_graph().toarray(), wanted, rtol=1e-6)
    scores = one.score()(torch.tensor([0]))
    np.testing.assert_allclose(scores.numpy(), [[5 / 12, 5 / 12, 1 / 3, 0]], rtol=1e-6)


def test_an_item_sends_to_those_reached_most():
    assert model(steps=1, neighbours=1).item_graph().toarray().astype(bool).tolist() == [
        [False, True, False, False],
        [True, False, False, False],
        [True, False, False, False],
        [False, False, False, False],
    ]
