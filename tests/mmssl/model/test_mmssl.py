import numpy as np
import pytest
import scipy.sparse as sp
import torch

from mmssl.config import TrainingConfig
from mmssl.data.dataset import ModalityFeatures
from mmssl.data.sampling import Batch, BatchSampler
from mmssl.evaluation.ranking import top_k
from mmssl.model.mmssl import MMSSL


def features(n_items: int, dim: int = 4, seed: int = 0, absent: tuple[int, ...] = ()):
    vectors = np.random.default_rng(seed).normal(size=(n_items, dim)).astype(np.float32)
    present = np.ones(n_items, dtype=bool)
    vectors[list(absent)], present[list(absent)] = 0, False
    return ModalityFeatures(vectors, present, None, "")


def build(observed: np.ndarray, *settings: str, given=None) -> MMSSL:
    torch.manual_seed(0)
    config = TrainingConfig.load(None, ["backbone.embedding_dim=8", *settings])
    given = given or {"image": features(observed.shape[1])}
    return MMSSL(config, sp.csr_array(observed), given, torch.Generator().manual_seed(0))


def batch(*rows: list[int]) -> Batch:
    return Batch(*(torch.tensor(r) for r in rows))


CHECKERBOARD = (np.indices((12, 12)).sum(axis=0) % 2).astype(np.int8)


def test_learns_the_checkerboard():
    """Users of one parity take items of the other; one held-out item a user must come first."""
    observed = CHECKERBOARD.copy()
    held_out = [(u, (u + 1 + 2 * (u % 3)) % 12) for u in range(12)]
    for user, item in held_out:
        assert observed[user, item] == 1
        observed[user, item] = 0
    # Random features: what is learned here comes from the interactions.
    model = build(observed, "adversarial.critic_items=6", "optimiser.learning_rate=0.05")
    sampler = BatchSampler(sp.csr_array(observed), 12, torch.Generator().manual_seed(0))
    critic = set(model.critic.parameters())
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p not in critic], lr=0.05)
    model.train()
    for _ in range(60):
        drawn = sampler.draw()
        model.critic_losses(drawn)
        optimiser.zero_grad()
        sum(model.losses(drawn).values()).backward()
        optimiser.step()
    model.eval()
    items, _ = top_k(model.score, np.arange(12), sp.csr_array(observed), k=1)
    hits = sum(items[user, 0] == item for user, item in held_out)
    assert hits == 12


def test_scores_are_the_products_of_the_final_vectors_and_forget_them_when_training_goes_on():
    model = build(CHECKERBOARD).eval()
    user, item = model.embeddings()
    assert user.shape == item.shape == (12, 8)
    torch.testing.assert_close(model.score(torch.tensor([3, 1])), user[[3, 1]] @ item.T)
    with torch.no_grad():
        model.item_id.add_(1.0)
    model.train().eval()
    assert not torch.allclose(model.embeddings()[1], item)


def test_scoring_is_without_dropout_and_leaves_the_mode_as_it_was():
    model = build(CHECKERBOARD, "features.dropout=0.9").train()
    torch.testing.assert_close(model.score(torch.tensor([0])), model.score(torch.tensor([0])))
    assert model.training


@pytest.mark.parametrize("missing", ["zero", "mean", "learned"])
def test_a_modality_that_no_item_has_does_no_harm(missing):
    nobody = features(12, absent=tuple(range(12)))
    model = build(
        CHECKERBOARD,
        f"features.missing={missing}",
        "features.scaling=standardise",
        given={"image": features(12), "audio": nobody},
    )
    parts = model.losses(batch([0, 1], [1, 0], [0, 1]))
    sum(parts.values()).backward()
    assert all(torch.isfinite(part) for part in parts.values())
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def test_cold_users_and_items_have_finite_vectors():
    observed = CHECKERBOARD.copy()
    observed[4], observed[:, 7] = 0, 0
    model = build(observed).eval()
    model.refresh_relations()
    assert model.relation_edges["image"].toarray()[4].sum() == 0
    assert all(vectors.isfinite().all() for vectors in model.embeddings())


def test_the_critics_block_holds_distinct_ascending_items_with_the_positives_among_them():
    model = build(CHECKERBOARD, "adversarial.critic_items=7", "adversarial.critic_users=3")
    drawn = batch([0, 2, 4, 6, 8], [1, 3, 5, 7, 9], [0, 0, 0, 0, 0])
    for _ in range(20):
        block = model._draw_block(drawn)
        items = block.items.tolist()
        assert len(items) == 7
        assert items == sorted(set(items))
        positives = dict(zip(drawn.users.tolist(), drawn.positives.tolist(), strict=True))
        assert {positives[u] for u in block.users.tolist()} <= set(items)
        assert len(set(block.users.tolist())) == 3


def test_the_forward_pass_of_the_critic_serves_the_model_too(monkeypatch):
    model = build(CHECKERBOARD).train()
    count = 0
    forward = model.forward

    def counting():
        nonlocal count
        count += 1
        return forward()

    monkeypatch.setattr(model, "forward", counting)
    drawn = batch([0, 1], [1, 0], [0, 1])
    model.critic_losses(drawn)
    model.losses(drawn)
    assert count == 1
    model.losses(drawn)
    assert count == 2


def test_relation_graphs_are_observed_then_learned_then_as_loaded():
    model = build(CHECKERBOARD, "relations.rate=0.1")
    assert model.relation_graphs["image"] is model.graph
    model.refresh_relations()
    learned = model.relation_edges["image"].toarray()
    assert (learned * CHECKERBOARD).sum() == 0
    assert (learned.sum(axis=1) == 1).all()
    np.testing.assert_array_equal(model.relation_graphs["image"].edges.toarray(), learned)
    model.load_relations({})
    assert model.relation_graphs["image"] is model.graph


def test_the_observed_switch_never_learns_a_graph():
    model = build(CHECKERBOARD, "relations.graph=observed")
    model.refresh_relations()
    assert model.relation_edges == {}


def test_no_modality_is_refused():
    with pytest.raises(ValueError, match="at least one modality"):
        MMSSL(TrainingConfig(), sp.csr_array(CHECKERBOARD), {}, torch.Generator())
