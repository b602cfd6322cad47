import numpy as np
import scipy.sparse as sp
import torch

from mmssl.config import TrainingConfig
from mmssl.data.dataset import ModalityFeatures
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


CHECKERBOARD = (np.indices((12, 12)).sum(axis=0) % 2).astype(np.int8)


def test_relation_graphs_are_observed_then_learned_then_as_loaded():
    model = build(CHECKERBOARD, "relations.rate=0.1")
    assert model.relations.graphs["image"] is model.graph
    model.refresh_relations()
    learned = model.relations.edges["image"].toarray()
    assert (learned * CHECKERBOARD).sum() == 0
    assert (learned.sum(axis=1) == 1).all()
    np.testing.assert_array_equal(model.relations.graphs["image"].edges.toarray(), learned)
    model.relations.load({})
    assert model.relations.graphs["image"] is model.graph


def test_cosine_joins_users_to_items_of_any_length():
    model = build(
        CHECKERBOARD, "relations.rate=0.1", "relations.similarity=cosine", "features.dropout=0"
    )
    side = model.features()["image"]
    user, item = side.user.numpy(), side.item.numpy()
    scores = user @ (item / np.linalg.norm(item, axis=1, keepdims=True)).T
    scores[CHECKERBOARD > 0] = -np.inf
    model.refresh_relations()
    learned = model.relations.edges["image"].toarray()
    assert learned.argmax(axis=1).tolist() == scores.argmax(axis=1).tolist()


def test_the_observed_switch_never_learns_a_graph():
    model = build(CHECKERBOARD, "relations.graph=observed")
    model.refresh_relations()
    assert model.relations.edges == {}


def test_the_graph_is_refreshed_without_dropout():
    model = build(CHECKERBOARD, "features.dropout=0.9", "relations.rate=0.2").train()
    graphs = []
    for _ in range(2):
        model.refresh_relations()
        graphs.append(model.relations.edges["image"].toarray())
    np.testing.assert_array_equal(*graphs)
    assert model.training


def test_scores_follow_the_graphs_that_are_loaded():
    model = build(CHECKERBOARD, "relations.rate=0.1").eval()
    users = torch.arange(12)
    observed = model.score()(users)
    model.refresh_relations()
    learned = model.score()(users)
    assert not torch.allclose(learned, observed)
    model.relations.load({})
    assert torch.equal(model.score()(users), observed)
