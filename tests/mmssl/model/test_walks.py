"""Walks beside the vectors: how much they weigh, and what becomes of them."""

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from mmssl.config import TrainingConfig
from mmssl.contract import EmbeddingModel, ItemGraphModel
from mmssl.data.random_walks import walk_graph
from mmssl.model.config import WalkConfig
from mmssl.model.mmssl import MMSSL
from mmssl.model.walks import Walks

OBSERVED = sp.csr_array(
    (np.random.default_rng(0).random((9, 7)) < 0.35).astype(np.float32)  # an arbitrary small case
)


def vectors(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(9, 3, generator=draw) + 1, torch.randn(7, 3, generator=draw)


@pytest.mark.parametrize("weight", [0.5, 2.0])
def test_they_vary_so_many_times_as_much_as_the_products(weight):
    users, items = vectors()
    graph = Walks(WalkConfig(weight=weight, neighbours=4), OBSERVED).beside(users, items)
    products = (users @ items.T).numpy().astype(np.float64)
    sent = (OBSERVED @ graph).toarray()
    assert sent.std() == pytest.approx(weight * products.std(), rel=1e-5)
    plain = walk_graph(OBSERVED, 3, 4)
    np.testing.assert_allclose(graph.data / graph.data[0], plain.data / plain.data[0], rtol=1e-5)


def test_the_deviation_is_taken_over_all_users_block_by_block(monkeypatch):
    whole = Walks(WalkConfig(weight=1), OBSERVED)
    monkeypatch.setattr("mmssl.model.walks._USERS_PER_BLOCK", 2)
    assert Walks(WalkConfig(weight=1), OBSERVED).deviation == pytest.approx(whole.deviation)
    assert whole.deviation == pytest.approx((OBSERVED @ whole.graph).toarray().std(), rel=1e-6)


@pytest.mark.parametrize("shape", [(0, 3), (3, 0)])
def test_without_users_or_items_there_is_no_deviation(shape):
    assert Walks(WalkConfig(weight=1), sp.csr_array(shape, dtype=np.float32)).deviation == 0


def test_where_walks_lead_nowhere_they_add_nothing():
    alone = sp.csr_array(np.eye(3, dtype=np.float32))
    graph = Walks(WalkConfig(weight=1), alone).beside(torch.ones(3, 2), torch.ones(3, 2))
    assert graph.nnz == 0


@pytest.fixture
def model(dataset):
    def build(*settings):
        torch.manual_seed(0)
        config = TrainingConfig.load(None, ["backbone.embedding_dim=8", *settings])
        draws = torch.Generator().manual_seed(1)
        return MMSSL(config, dataset.matrix("train"), dataset.features, draws).eval()

    return build


def test_the_score_is_the_product_and_what_the_walks_bring(model, dataset):
    walking, plain = model("walks.weight=0.7"), model()
    assert isinstance(walking, EmbeddingModel)
    assert isinstance(walking, ItemGraphModel)
    assert plain.item_graph() is None
    users = torch.tensor([3, 0, 5])
    sent = (dataset.matrix("train") @ walking.item_graph()).toarray()[users.numpy()]
    assert sent.any()
    torch.testing.assert_close(
        walking.score()(users) - plain.score()(users), torch.from_numpy(sent)
    )


def test_a_score_may_be_overwritten_and_follows_the_parameters(model):
    plain = ("backbone.relation_rate=0", "backbone.feature_rate=0")
    walking = model("walks.weight=0.7", *plain)
    users = torch.arange(4)
    before = walking.score()(users)
    kept = before.clone()
    before.fill_(-torch.inf)
    torch.testing.assert_close(walking.score()(users), kept)
    walking.train()
    with torch.no_grad():
        walking.user_id.mul_(2)
        walking.item_id.mul_(2)
    walking.eval()
    # Products and walks alike.
    torch.testing.assert_close(walking.score()(users), 4 * kept)
