from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from mmssl.config import TrainingConfig
from mmssl.data.dataset import ModalityFeatures
from mmssl.data.sampling import Batch
from mmssl.model.mmssl import MMSSL
from mmssl.model.neighbourhood import Neighbourhood


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


# --- rows that a relation graph reaches ----------------------------------------------------------


def with_few_relations(*settings: str, dtype=torch.float64) -> MMSSL:
    """A model whose relation graphs reach 3 of 12 users and 4 of 15 items, not the same in both."""
    draw = np.random.default_rng(1)
    features = {
        m: ModalityFeatures(
            draw.normal(size=(15, 4)).astype(np.float32), np.ones(15, dtype=bool), None, ""
        )
        for m in ("image", "text")
    }
    torch.manual_seed(0)
    model = MMSSL(
        TrainingConfig.load(
            None,
            [
                "backbone.embedding_dim=4",
                "backbone.heads=2",
                "features.dropout=0",
                "adversarial.weight=0",
                *settings,
            ],
        ),
        sp.csr_array((draw.random((12, 15)) < 0.3).astype(np.float32)),
        features,
        torch.Generator().manual_seed(1),
        dtype=dtype,
    ).to(dtype)
    image, text = np.zeros((12, 15)), np.zeros((12, 15))
    image[0, :3] = image[4, 2] = text[5, 7] = text[0, 1] = 1
    model.relations.load({"image": sp.csr_array(image), "text": sp.csr_array(text)})
    return model


def vectors_and_gradients(model: MMSSL, drawn: Neighbourhood | None = None) -> list[torch.Tensor]:
    final = model(drawn).final
    (final.user.sin().sum() + final.item.cos().sum()).backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    dense = [g.to_dense() if g.is_sparse else g for g in gradients]
    return [final.user.detach(), final.item.detach(), *dense]


@pytest.mark.parametrize("kind", ["paper", "identity", "scrambled"])
def test_leaving_out_rows_without_relations_changes_nothing(kind):
    picked, whole = (with_few_relations(f"backbone.attention={kind}") for _ in range(2))
    assert picked.relations.joined_users.tolist() == [0, 4, 5]
    assert picked.relations.joined_items.tolist() == [0, 1, 2, 7]
    whole.relations.joined_users = whole.relations.joined_items = None
    ours, theirs = vectors_and_gradients(picked), vectors_and_gradients(whole)
    assert len(ours) == len(theirs) > 6
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=0, atol=1e-12)


def test_nor_does_it_where_neighbours_are_drawn():
    picked, whole = (with_few_relations("backbone.propagation=sampled") for _ in range(2))
    batch = Batch(torch.arange(12), torch.arange(12), torch.arange(3, 15))
    drawn = picked.step_sampler.draw(batch).neighbourhood
    assert 0 < len(drawn.graphs.joined_users) < 12
    assert 0 < len(drawn.graphs.joined_items) < 15
    everything = replace(drawn, graphs=replace(drawn.graphs, joined_users=None, joined_items=None))
    ours, theirs = vectors_and_gradients(picked, drawn), vectors_and_gradients(whole, everything)
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=0, atol=1e-12)


def test_nor_under_autocast():
    picked, whole = (with_few_relations(dtype=torch.float32) for _ in range(2))
    whole.relations.joined_users = whole.relations.joined_items = None
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ours, theirs = picked().final, whole().final
    assert ours.user.dtype == theirs.user.dtype
    torch.testing.assert_close(ours.user, theirs.user, rtol=0.02, atol=0.02)
    torch.testing.assert_close(ours.item, theirs.item, rtol=0.02, atol=0.02)
