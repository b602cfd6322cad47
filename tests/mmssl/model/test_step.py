import numpy as np
import scipy.sparse as sp
import torch

from mmssl.config import TrainingConfig
from mmssl.data.dataset import ModalityFeatures
from mmssl.data.sampling import Batch
from mmssl.model.mmssl import MMSSL


def build(observed: np.ndarray, *settings: str) -> MMSSL:
    torch.manual_seed(0)
    n_items = observed.shape[1]
    vectors = np.random.default_rng(0).normal(size=(n_items, 4)).astype(np.float32)
    return MMSSL(
        TrainingConfig.load(None, ["backbone.embedding_dim=8", *settings]),
        sp.csr_array(observed),
        {"image": ModalityFeatures(vectors, np.ones(n_items, dtype=bool), None, "")},
        torch.Generator().manual_seed(0),
    )


def batch(*rows: list[int]) -> Batch:
    return Batch(*(torch.tensor(r) for r in rows))


CHECKERBOARD = (np.indices((12, 12)).sum(axis=0) % 2).astype(np.int8)


def test_the_critics_block_holds_distinct_ascending_items_with_the_positives_among_them():
    model = build(CHECKERBOARD, "adversarial.critic_items=7", "adversarial.critic_users=3")
    drawn = batch([0, 2, 4, 6, 8], [1, 3, 5, 7, 9], [0, 0, 0, 0, 0])
    for _ in range(20):
        block = model.step_sampler.draw(drawn).block
        items = block.items.tolist()
        assert len(items) == 7
        assert items == sorted(set(items))
        positives = dict(zip(drawn.users.tolist(), drawn.positives.tolist(), strict=True))
        assert {positives[u] for u in block.users.tolist()} <= set(items)
        assert len(set(block.users.tolist())) == 3


def test_only_the_chosen_users_positives_are_sure_of_a_place_in_the_block():
    model = build(
        np.eye(40, dtype=np.int8), "adversarial.critic_items=3", "adversarial.critic_users=1"
    )
    drawn = batch(list(range(20)), list(range(20)), [39] * 20)
    others = [
        len(set(block.items.tolist()) & set(range(20))) - 1
        for block in (model.step_sampler.draw(drawn).block for _ in range(300))
    ]
    # Two of the 39 other items, 19 of them positives of users who were not chosen: .97 expected.
    assert 0.8 < np.mean(others) < 1.15
