import numpy as np
import pytest
import scipy.sparse as sp
import torch

from mmssl.config import TrainingConfig
from mmssl.data.dataset import ModalityFeatures
from mmssl.data.sampling import Batch, BatchSampler
from mmssl.evaluation.ranking import top_k
from mmssl.model.config import MMSSLConfig
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
    items, _ = top_k(model.score(), np.arange(12), sp.csr_array(observed), k=1)
    hits = sum(items[user, 0] == item for user, item in held_out)
    assert hits == 12


def test_scores_are_the_products_of_the_final_vectors_and_forget_them_when_training_goes_on():
    model = build(CHECKERBOARD).eval()
    user, item = model.embeddings()
    assert user.shape == item.shape == (12, 8)
    torch.testing.assert_close(model.score()(torch.tensor([3, 1])), user[[3, 1]] @ item.T)
    with torch.no_grad():
        model.item_id.add_(1.0)
    model.train().eval()
    assert not torch.allclose(model.embeddings()[1], item)


def test_scoring_is_without_dropout_and_leaves_the_mode_as_it_was():
    model = build(CHECKERBOARD, "features.dropout=0.9").train()
    torch.testing.assert_close(model.score()(torch.tensor([0])), model.score()(torch.tensor([0])))
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
    assert model.relations.edges["image"].toarray()[4].sum() == 0
    assert all(vectors.isfinite().all() for vectors in model.embeddings())


def test_the_forward_pass_of_the_critic_serves_the_model_too(monkeypatch):
    model = build(CHECKERBOARD).train()
    count = 0
    forward = model.forward

    def counting(*given):
        nonlocal count
        count += 1
        return forward(*given)

    monkeypatch.setattr(model, "forward", counting)
    drawn = batch([0, 1], [1, 0], [0, 1])
    model.critic_losses(drawn)
    model.losses(drawn)
    assert count == 1
    model.losses(drawn)
    assert count == 2


def test_no_modality_is_refused():
    with pytest.raises(ValueError, match="at least one modality"):
        MMSSL(MMSSLConfig(), sp.csr_array(CHECKERBOARD), {}, torch.Generator())


def test_id_embeddings_begin_xavier_uniform():
    model = build(np.ones((300, 200), dtype=np.int8))
    for ids, rows in ((model.user_id, 300), (model.item_id, 200)):
        bound = (6 / (rows + 8)) ** 0.5
        assert ids.abs().max() <= bound
        assert ids.abs().max() > 0.95 * bound
        np.testing.assert_allclose(ids.std().item(), bound / 3**0.5, rtol=0.1)


def test_the_critics_losses_are_those_of_its_block(monkeypatch):
    """critic_losses(batch) against equations 3, 5 and 6 on the block that it drew."""
    model = build(
        CHECKERBOARD,
        "adversarial.critic_items=7",
        "adversarial.critic_dropout=[0.0, 0.0]",
        "adversarial.mask_observed=false",
        "adversarial.gumbel_temperature=0.3",
        "adversarial.gumbel_scale=0.2",
        "adversarial.prediction_scale=0.7",
        "adversarial.gradient_penalty=3.0",
        given={"image": features(12), "audio": features(12, dim=3, seed=1)},
    ).eval()
    drawn = batch([0, 2, 4], [1, 3, 5], [0, 0, 0])
    steps = []
    draw = model.step_sampler.draw
    monkeypatch.setattr(model.step_sampler, "draw", lambda b: steps.append(draw(b)) or steps[-1])
    parts = model.critic_losses(drawn)
    (block,) = [step.block for step in steps]
    assert block.epsilon.shape == (6, 1)

    views = model()
    observed = torch.tensor(CHECKERBOARD)[block.users][:, block.items].float()

    def unit(x):
        return x / x.norm(dim=1, keepdim=True)

    def similarity(side):
        return unit(side.user[block.users] @ side.item[block.items].T)

    gumbel = -torch.log(-torch.log(block.uniform + 1e-8) + 1e-8)
    relaxed = torch.softmax((observed + 0.2 * gumbel) / 0.3, dim=1)
    real = unit(relaxed + 0.7 * similarity(views.final))
    fake = torch.cat([similarity(views.features[m]) for m in ("image", "audio")])
    scores = model.critic(fake, block.items), model.critic(real, block.items)
    torch.testing.assert_close(parts["wasserstein"], scores[0].mean() - scores[1].mean())
    mixed = block.epsilon * torch.cat([real, real]) + (1 - block.epsilon) * fake
    mixed = mixed.detach().requires_grad_()
    (slope,) = torch.autograd.grad(model.critic(mixed, block.items).sum(), mixed)
    penalty = 3.0 * (slope.norm(dim=1) - 1).square().mean()
    torch.testing.assert_close(parts["gradient_penalty"], penalty)


@pytest.mark.parametrize("anchor", ["final", "collaborative"])
def test_both_views_of_the_contrast_are_taught(anchor):
    model = build(CHECKERBOARD, f"contrast.anchor={anchor}", "contrast.weight=1").eval()
    rate = model.config.backbone.relation_rate
    assert rate > 0
    part = model.losses(batch([0, 1, 2], [1, 0, 1], [0, 1, 0]))["contrast"]
    weight = model.projections[0].linear.weight
    user_id, projection = torch.autograd.grad(part, [model.user_id, weight], allow_unused=True)
    assert user_id.abs().sum() > 0
    # The features enter h_u but not c_u: equation 12 detaches neither view.
    assert (projection is not None) == (anchor == "final")


def test_an_unmasked_generator_keeps_observed_items_in_its_rows():
    on, off = (
        build(CHECKERBOARD, f"adversarial.mask_observed={value}") for value in ("true", "false")
    )
    drawn = batch([0, 1], [1, 0], [0, 1])
    losses = [model.eval().losses(drawn)["generator"].item() for model in (on, off)]
    assert losses[0] != losses[1]


@pytest.mark.parametrize("missing", ["zero", "mean", "learned"])
def test_users_all_of_whose_items_lack_a_modality_do_not_drown_the_gradients(missing):
    """Their F_u may be zero, where x / max(|x|, 1e-12) has the slope 1e12."""
    absent = tuple(range(1, 12, 2))  # all that the even users have
    model = build(
        CHECKERBOARD,
        f"features.missing={missing}",
        given={"image": features(12), "audio": features(12, absent=absent)},
    ).train()
    parts = model.losses(batch([0, 1, 2, 3], [1, 0, 3, 2], [0, 1, 2, 3]))
    sum(parts.values()).backward()
    norms = [p.grad.norm().item() for p in model.parameters() if p.grad is not None]
    assert max(norms) < 100


def test_the_softmax_compares_with_items_of_the_whole_step():
    model = build(
        CHECKERBOARD, "ranking.loss=softmax", "ranking.negatives=12", "features.dropout=0"
    )
    users, positives = [0, 1, 4], [1, 2, 3]
    step = batch(users, positives, [0, 1, 2])
    found = model.eval().losses(step)
    assert "bpr" not in found
    # Twelve of twelve items are drawn: all that a user has not observed are negatives.
    user, item = (vectors.detach().numpy() for vectors in model.embeddings())
    losses = []
    for u, i in zip(users, positives, strict=True):
        scores = item @ user[u]
        others = scores[CHECKERBOARD[u] == 0]
        losses.append(np.log(np.exp(scores[i]) + np.exp(others).sum()) - scores[i])
    np.testing.assert_allclose(found["softmax"].item(), np.mean(losses), rtol=1e-5)


def test_with_batches_of_interactions_the_contrast_takes_each_user_once():
    settings = ("optimiser.batches=interactions", "features.dropout=0", "adversarial.weight=0")
    model = build(CHECKERBOARD, *settings).eval()
    once = model.losses(batch([0, 3, 5], [1, 2, 4], [0, 1, 3]))["contrast"]
    twice = model.losses(batch([3, 0, 5, 0, 3], [2, 1, 4, 3, 4], [1, 0, 3, 2, 1]))["contrast"]
    torch.testing.assert_close(once, twice)


def test_the_l2_of_the_ids_leaves_the_features_alone():
    step = batch([0, 3], [1, 2], [0, 1])
    model = build(CHECKERBOARD, "optimiser.embedding_l2_on=ids", "optimiser.embedding_l2=0.5")
    found = model.eval().losses(step)["embedding_l2"]
    ids = (
        model.user_id[step.users],
        model.item_id[step.positives],
        model.item_id[step.negatives],
    )
    wanted = 0.5 * 0.5 * sum(vectors.square().sum() for vectors in ids) / 2
    torch.testing.assert_close(found, wanted)


def test_the_noise_contrast_tells_distinct_nodes_apart_in_two_noisy_views(monkeypatch):
    """Against numpy; the two views differ, and nodes that stand twice in the batch count once."""
    model = build(CHECKERBOARD, "noise_contrast.weight=0.5", "noise_contrast.temperature=0.3",
                  "contrast.weight=0", "adversarial.weight=0")  # fmt: skip
    kept = []
    forward = model.forward

    def keeping(drawn=None):
        kept.append(forward(drawn))
        return kept[-1]

    monkeypatch.setattr(model, "forward", keeping)
    model.train()
    parts = model.losses(batch([3, 0, 3], [2, 1, 4], [1, 2, 1]))
    (views,) = kept
    for side, rows in (("user", [0, 3]), ("item", [1, 2, 4])):
        one, other = (getattr(view, side).detach().numpy()[rows] for view in views.perturbed)
        assert not np.allclose(one, other)
        one, other = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (one, other))
        chances = np.exp(one @ other.T / 0.3)
        wanted = -np.log(np.diag(chances) / chances.sum(axis=1)).mean()
        assert parts[f"noise_contrast_{side}"].item() == pytest.approx(0.5 * wanted, rel=1e-5)
    model.eval()
    assert model.forward().perturbed is None


def test_a_noisy_view_is_propagated_with_noise_of_its_length():
    settings = ("noise_contrast.weight=0.5", "noise_contrast.noise=0.25", "backbone.layers=1")
    model = build(CHECKERBOARD, *settings, "backbone.relation_rate=0", "adversarial.weight=0")
    model.train()
    views = model.forward()
    for view in views.perturbed:
        # c is the mean of layers 0 and 1, of which layer 1 alone has noise.
        moved = 2 * (view.item - views.collaborative.item)
        torch.testing.assert_close(moved.norm(dim=1), torch.full((12,), 0.25))


@pytest.mark.parametrize("rate", [0.0, 0.4])
def test_dropout_leaves_out_numbers_of_layer_0_alone_and_only_in_training(rate):
    model = build(CHECKERBOARD, f"backbone.dropout={rate}", "backbone.layers=0",
                  "backbone.relation_rate=0", "backbone.feature_rate=0")  # fmt: skip
    model.train()
    ratio = (model.forward().final.user / model.user_id).detach()
    kept = 1 / (1 - rate)
    assert torch.isclose(ratio, torch.tensor(kept)).logical_or(ratio == 0).all()
    assert bool((ratio == 0).any()) is bool(rate)
    model.eval()
    torch.testing.assert_close(model.forward().final.user, model.user_id)


def test_a_step_leaves_out_what_nothing_learns_from_and_comes_to_the_same(monkeypatch):
    bare = ("backbone.relation_rate=0", "backbone.feature_rate=0", "contrast.weight=0",
            "adversarial.weight=0", "optimiser.feature_l2=0")  # fmt: skip

    def step():
        model = build(CHECKERBOARD, *bare)
        model.train()
        views = model.forward()
        parts = model.losses(batch([3, 0], [2, 1], [1, 2]))
        sum(parts.values()).backward()
        return views, parts, model.user_id.grad

    views, parts, gradient = step()
    assert not views.features
    assert not views.relations
    monkeypatch.setattr(MMSSLConfig, "learns_from_features", True)
    monkeypatch.setattr(MMSSLConfig, "learns_from_relations", True)
    whole, as_before, wanted = step()
    assert set(whole.features) == set(whole.relations) == {"image"}
    torch.testing.assert_close(parts, as_before)
    torch.testing.assert_close(gradient, wanted)


@pytest.mark.parametrize(
    ("setting", "features", "relations"),
    [
        ("backbone.relation_rate=0.1", False, True),
        ("contrast.weight=0.1", False, True),
        ("backbone.feature_rate=0.1", True, False),
        ("adversarial.weight=0.1", True, False),
        ("reconstruction.weight=0.1", True, False),
        ("optimiser.feature_l2=0.1", True, False),
        ("relations.schedule=steps", True, False),
    ],
)
def test_what_needs_features_or_relations_has_them(setting, features, relations):
    bare = ["backbone.relation_rate=0", "backbone.feature_rate=0", "contrast.weight=0",
            "adversarial.weight=0", "optimiser.feature_l2=0"]  # fmt: skip
    model = build(CHECKERBOARD, *bare, setting).train()
    views = model.forward()
    assert bool(views.features) is features
    assert bool(views.relations) is relations


def test_batches_of_interactions_take_each_once_and_those_of_users_each_user_once():
    observed = sp.csr_array(CHECKERBOARD)
    sampler = build(CHECKERBOARD, "optimiser.batches=interactions",
                    "optimiser.batch_users=24").sampler(observed)  # fmt: skip
    drawn = [sampler.draw() for _ in range(len(sampler))]
    pairs = [p for b in drawn for p in zip(b.users.tolist(), b.positives.tolist(), strict=True)]
    assert len(drawn) == 3
    assert sorted(pairs) == sorted(zip(*(r.tolist() for r in observed.nonzero()), strict=True))
    users = build(CHECKERBOARD, "optimiser.batch_users=24").sampler(observed).draw().users
    assert sorted(users.tolist()) == list(range(12))
