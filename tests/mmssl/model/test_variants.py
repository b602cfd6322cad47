"""The switches of the model that variants and ablations are made of."""

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from mmssl.config import TrainingConfig
from mmssl.data.dataset import ModalityFeatures
from mmssl.data.sampling import Batch
from mmssl.model.mmssl import MMSSL
from mmssl.objectives.info_nce import info_nce

CHECKERBOARD = (np.indices((12, 12)).sum(axis=0) % 2).astype(np.int8)
BATCH = Batch(torch.tensor([0, 1, 2]), torch.tensor([1, 0, 3]), torch.tensor([0, 1, 2]))


def build(*settings: str) -> MMSSL:
    torch.manual_seed(0)
    draw = np.random.default_rng(0)
    everybody = np.ones(12, dtype=bool)
    given = {
        m: ModalityFeatures(draw.normal(size=(12, 4)).astype(np.float32), everybody, None, "")
        for m in ("image", "audio")
    }
    return MMSSL(
        TrainingConfig.load(None, ["backbone.embedding_dim=8", *settings]),
        sp.csr_array(CHECKERBOARD),
        given,
        torch.Generator().manual_seed(0),
        dtype=torch.float64,
    ).eval()


@pytest.mark.parametrize("stopped", ["none", "relation", "anchor"])
def test_the_gradient_of_the_contrast_stops_on_the_side_named(stopped):
    model = build(
        f"contrast.stop_gradient={stopped}", "contrast.weight=1", "contrast.temperature=1"
    )
    part = model.losses(BATCH)["contrast"]
    ids = [model.user_id, model.item_id]
    ours = torch.autograd.grad(part, ids, materialize_grads=True)

    views = model()
    sides = {
        "relation": [views.relations[m].user[BATCH.users] for m in ("image", "audio")],
        "anchor": [views.final.user[BATCH.users]] * 2,
    }
    value = sum(info_nce(*pair, 1.0) for pair in zip(*sides.values(), strict=True))
    torch.testing.assert_close(part, value)
    # By the chain rule, one side at a time: what the other side passes on is left out.
    leaves = {name: [v.detach().requires_grad_() for v in side] for name, side in sides.items()}
    loss = sum(info_nce(*pair, 1.0) for pair in zip(*leaves.values(), strict=True))
    expected = [torch.zeros_like(p) for p in ids]
    for name, side in sides.items():
        if name == stopped:
            continue
        slopes = torch.autograd.grad(loss, leaves[name], retain_graph=True)
        passed = torch.autograd.grad(side, ids, slopes, retain_graph=True, allow_unused=True)
        expected = [e if p is None else e + p for e, p in zip(expected, passed, strict=True)]
    # A user's relation embedding is made of items alone: what is left of a stopped anchor.
    assert [bool(by_hand.norm() > 1e-6) for by_hand in expected] == [stopped != "anchor", True]
    for gradient, by_hand in zip(ours, expected, strict=True):
        torch.testing.assert_close(gradient, by_hand)


def test_without_gt_the_real_rows_are_the_observed_ones_of_length_one():
    model = build(
        *("adversarial.real_rows=observed", "adversarial.critic_items=8"),
        "adversarial.critic_users=8",
    )
    seen = []
    forward = model.critic.forward
    model.critic.forward = lambda rows, *rest: seen.append(rows.detach()) or forward(rows, *rest)
    steps = []
    draw = model.step_sampler.draw
    model.step_sampler.draw = lambda batch: steps.append(draw(batch)) or steps[-1]
    model.critic_losses(BATCH)
    (block,) = [step.block for step in steps]
    observed = CHECKERBOARD[block.users][:, block.items].astype(float)
    assert observed.sum(axis=1).min() >= 1
    # The critic sees the generated rows, then the real ones, then those between them.
    by_hand = observed / np.sqrt(observed.sum(axis=1, keepdims=True))
    np.testing.assert_allclose(seen[1], by_hand, rtol=1e-12)


@pytest.mark.parametrize(("forward", "passes"), [("shared", 1), ("own", 2)])
def test_the_critic_takes_the_models_forward_pass_or_one_of_its_own(forward, passes):
    model = build(f"adversarial.forward={forward}").train()
    views = []
    once = model.forward
    model.forward = lambda *given: views.append(once(*given)) or views[-1]
    model.critic_losses(BATCH)
    model.losses(BATCH)
    assert len(views) == passes
    # A pass of the critic's own keeps nothing for a backward, and has its own dropout.
    assert views[0].final.user.requires_grad == (forward == "shared")
    assert views[-1].final.user.requires_grad
    if forward == "own":
        assert not torch.equal(views[0].final.user, views[1].final.user)


def test_a_critic_of_vectors_gets_those_of_the_same_forward_pass():
    model = build("adversarial.critic_weights=from_vectors", "adversarial.critic_items=5")
    assert model.critic.w1.shape == (8, 128)
    given = []
    forward = model.critic.forward
    model.critic.forward = lambda *of: given.append(of[1:]) or forward(*of)
    model.critic_losses(BATCH)
    model.losses(BATCH)["generator"].backward()
    item = model().final.item.detach()
    assert len(given) == 4
    for items, vectors in given:
        torch.testing.assert_close(vectors.detach(), item[items])


def test_the_graph_autoencoder_is_weighed_and_reaches_the_projections():
    """r/p-GAE: by numpy from the batch's features."""
    model = build("adversarial.weight=0", "reconstruction.weight=0.3")
    part = model.losses(BATCH)["reconstruction"]
    expected = 0.0
    for side in model().features.values():
        user, item = side.user.detach().numpy(), side.item.detach().numpy()
        closeness = [
            (user[BATCH.users] * item[rows]).sum(axis=1)
            for rows in (BATCH.positives, BATCH.negatives)
        ]
        expected += np.mean(np.log1p(np.exp([-closeness[0], closeness[1]])))
    np.testing.assert_allclose(part.item(), 0.3 * expected, rtol=1e-9)
    slopes = torch.autograd.grad(part, [p.linear.weight for p in model.projections])
    assert all(slope.norm() > 0 for slope in slopes)
