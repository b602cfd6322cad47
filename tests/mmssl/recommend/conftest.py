import numpy as np
import pytest
import torch
from scipy.sparse import csr_array

from mmssl.recommend.model_folder import SavedModel
from mmssl.recommend.model_info import ModelInfo


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
