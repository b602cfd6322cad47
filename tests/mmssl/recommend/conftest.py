from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array

from mmssl.recommend.model_files import ItemFeatures
from mmssl.recommend.model_folder import SavedModel
from mmssl.recommend.model_info import ModelInfo
from mmssl.vectors import TwoSided


@pytest.fixture
def saved() -> SavedModel:
    """Four users, five items; 'd/4' has never been seen in training, 'ü.2' has seen four items."""
    train = np.array([[1, 0, 0, 0, 0], [1, 1, 0, 1, 0], [0, 0, 1, 1, 0], [0, 0, 0, 0, 0]])
    val = np.array([[0, 1, 0, 0, 0], [0, 0, 1, 0, 0], [0, 0, 0, 0, 0], [1, 0, 0, 0, 0]])
    users = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [9.0, -9.0]])
    items = torch.tensor([[0.0, 4.0], [1.0, 3.0], [2.0, 2.0], [3.0, 1.0], [4.0, 0.5]])
    info = ModelInfo(
        name="mmssl",
        variant="paper",
        encoders={"image": "packaged:efficientnet-lite0", "audio": None},
        data="data/small",
        data_digest="0" * 64,
        seed=3,
        best_epoch=7,
        training={"seed": 3, "backbone": {"embedding_dim": 2}},
        metrics={"recall@20": 0.25, "ndcg@20": 0.125},
        popularity={"recall@20": 0.0625, "ndcg@20": 0.03125},
        protocol={"split": "val", "masked": ["train"], "ks": [20]},
    )
    return SavedModel(
        info=info,
        user_ids=["a", "ü.2", "c", "d/4"],
        item_ids=["i0", "i1", "i2", "007", "7"],
        parameters={"user_id": users * 2, "attention.w_q": torch.eye(2, dtype=torch.float64)},
        user_vectors=users,
        item_vectors=items,
        graphs={
            "image": csr_array((1 - train).astype(np.float32)),
            "audio": csr_array((4, 5), dtype=np.float32),
        },
        train=csr_array(train.astype(np.float32)),
        val=csr_array(val.astype(np.float32)),
    )


def random_model(
    saved: SavedModel, seed: int, *, users=12, items=10, dim=3, graph=False, vectors=True
) -> SavedModel:
    """A model of random numbers that keeps its parts and media; items 0 and 1 have no audio."""
    draw = np.random.default_rng(seed)

    def numbers(*shape):
        return draw.normal(size=shape).astype(np.float32)

    train = draw.random((users, items)) < 0.35
    # Everybody has an item but the last user, every item a user but the last two.
    train[:, 0], train[0] = True, True
    train[-1], train[:, -2:] = False, False
    val = (draw.random((users, items)) < 0.1) & ~train
    audio = np.arange(items) > 1
    there = {"image": np.ones(items, dtype=np.bool_), "audio": audio}
    parts = {
        m: TwoSided(torch.from_numpy(numbers(users, dim)), torch.from_numpy(numbers(items, dim)))
        for m in there
    }
    links = numbers(items, items) * (draw.random((items, items)) < 0.4)
    return replace(
        saved,
        user_ids=[f"u{row}" for row in range(users)],
        item_ids=[f"i{row}" for row in range(items)],
        graphs={m: csr_array(train.astype(np.float32)) for m in there},
        train=csr_array(train.astype(np.float32)),
        val=csr_array(val.astype(np.float32)),
        user_vectors=torch.from_numpy(numbers(users, dim)) if vectors else None,
        item_vectors=torch.from_numpy(numbers(items, dim)) if vectors else None,
        item_graph=csr_array(links) if graph else None,
        modality_parts=parts if vectors else {},
        features={
            m: ItemFeatures(numbers(items, 3 + n) * given[:, None], given)
            for n, (m, given) in enumerate(there.items())
        },
    )


@pytest.fixture
def make_model(saved):
    """``make_model(seed, graph=, vectors=)`` gives a random model of 12 users and 10 items."""
    return partial(random_model, saved)
