import numpy as np
import pytest
import torch

from extract.errors import InputError
from mmssl.config import TrainingConfig
from mmssl.model.limits import refuse_what_needs_one_process
from mmssl.training import accelerator as accelerator_module
from mmssl.training.accelerator import make_accelerator
from mmssl.training.learner import Learner


def learner(dataset, *settings: str) -> Learner:
    return Learner(
        TrainingConfig.load(None, ["backbone.embedding_dim=8", *settings]),
        dataset.matrix("train"),
        dataset.features,
        make_accelerator("cpu", "no"),
    )


def test_the_optimisers_are_those_of_the_method(dataset):
    """AdamW for all parameters but the critic's, with decay; Adam(.5, .9) for the critic."""
    built = learner(
        dataset,
        "optimiser.learning_rate=0.02",
        "optimiser.weight_decay=0.3",
        "adversarial.critic_learning_rate=0.04",
    )
    groups = {name: optimiser.param_groups for name, optimiser in built._optimisers()}
    (model,), (critic,) = groups["optimiser"], groups["critic_optimiser"]
    assert (model["lr"], model["weight_decay"], critic["lr"]) == (0.02, 0.3, 0.04)
    assert tuple(critic["betas"]) == (0.5, 0.9)
    assert critic["weight_decay"] == 0
    of_critic = {id(p) for p in built.model.critic.parameters()}
    assert {id(p) for p in critic["params"]} == of_critic
    everything = {id(p) for p in built.model.parameters()}
    assert {id(p) for p in model["params"]} == everything - of_critic


def test_a_step_moves_both_sides_and_leaves_the_critic_trainable(dataset):
    built = learner(dataset)
    before = {n: p.detach().clone() for n, p in built.model.named_parameters()}
    norms: dict = {}
    values = built.step(built.sampler.draw(), norms)
    moved = {n for n, p in built.model.named_parameters() if not torch.equal(p, before[n])}
    assert {"user_id", "item_id", "attention.w_cat", "critic.w1"} <= moved
    assert all(p.requires_grad for p in built.model.parameters())
    assert set(values) == {
        *("wasserstein", "gradient_penalty", "bpr", "embedding_l2", "feature_l2"),
        *("contrast", "generator"),
    }
    assert set(norms) == {"parts", "parameters", "critic"}


def test_the_models_step_leaves_the_critic_where_its_own_step_put_it(dataset):
    """The critic's weights are frozen in the model's step: L_G must not teach the critic."""
    quiet, loud = (learner(dataset, f"adversarial.weight={weight}") for weight in (1e-6, 1e3))
    for built in (quiet, loud):
        torch.manual_seed(3)
        built.step(built.sampler.draw())
    for ours, theirs in zip(
        quiet.model.critic.parameters(), loud.model.critic.parameters(), strict=True
    ):
        assert torch.equal(ours, theirs)


def test_state_and_restore_are_inverse(dataset):
    first, second = learner(dataset), learner(dataset, "seed=9")
    first.step(first.sampler.draw())
    first.model.refresh_relations()
    live, facts = first.state()
    tensors = {name: tensor.clone() for name, tensor in live.items()}
    following = first.step(first.sampler.draw())
    second.restore(tensors, facts)
    assert second.step(second.sampler.draw()) == following
    for modality, edges in first.model.relations.edges.items():
        np.testing.assert_array_equal(
            edges.toarray(), second.model.relations.edges[modality].toarray()
        )


def test_clipping_bounds_the_models_gradient_and_leaves_the_critics(dataset):
    def norms_at_the_step(*settings: str) -> dict[str, float]:
        built, norms = learner(dataset, *settings), {}
        for name, optimiser in built._optimisers():

            def note(optimiser, *_, name=name):
                gradients = [p.grad for p in optimiser.param_groups[0]["params"]]
                flat = torch.cat([g.flatten() for g in gradients if g is not None])
                norms[name] = flat.norm().item()

            optimiser.register_step_pre_hook(note)
        built.step(built.sampler.draw())
        return norms

    free = norms_at_the_step()
    bound = free["optimiser"] / 4
    clipped = norms_at_the_step(f"optimiser.clip_norm={bound}")
    assert clipped["optimiser"] == pytest.approx(bound, rel=1e-4)
    assert clipped["critic_optimiser"] == free["critic_optimiser"]
    loose = norms_at_the_step(f"optimiser.clip_norm={4 * free['optimiser']}")
    assert loose == free


def test_the_rate_follows_the_schedule_step_by_step_and_the_critics_stays(dataset):
    built = learner(
        dataset, "optimiser.learning_rate=0.5", "optimiser.warm_up_steps=2", "optimiser.epochs=3"
    )
    rates = []
    for _ in range(4):
        rates.append(built.learning_rate)
        built.step(built.sampler.draw())
    assert rates == [0.25, 0.5, 0.5, 0.5]
    assert built._critic_optimiser.param_groups[0]["lr"] == 3e-4


def test_without_the_adversarial_part_there_is_no_critic(dataset):
    built = learner(dataset, "adversarial.weight=0")
    assert built.model.critic is None
    assert [name for name, _ in built._optimisers()] == ["optimiser"]
    built.step(built.sampler.draw())


def test_absent_devices_are_refused_in_one_line():
    with pytest.raises(InputError, match="unknown device"):
        make_accelerator("tpu", "no")


@pytest.mark.parametrize(
    ("setting", "batch", "says"),
    [
        ("seed=2", 2, "3 processes share batches of 2 users"),
        ("adversarial.critic_users=2", 9, "3 processes share adversarial.critic_users=2"),
        ("adversarial.critic_batch_norm=true", 9, "critic_batch_norm=true trains in one process"),
        ("optimiser.batches=interactions", 9, "a critic on optimiser.batches=interactions trains"),
    ],
)
def test_what_several_processes_would_compute_otherwise_is_refused(setting, batch, says):
    config = TrainingConfig.load(None, [setting])
    refuse_what_needs_one_process(config, batch, 1)
    with pytest.raises(InputError, match=says):
        refuse_what_needs_one_process(config, batch, 3)
    # Without a critic its settings do not matter.
    if not setting.startswith("seed"):
        without = TrainingConfig.load(None, [setting, "adversarial.weight=0"])
        refuse_what_needs_one_process(without, batch, 3)


@pytest.mark.parametrize(
    ("device", "place", "says"),
    [
        ("auto", "mps", "several processes cannot share --device mps"),
        ("cuda:1", "cuda:1", "--device cuda:1: each of several processes takes the GPU"),
        ("auto", "cuda:0", r"2 processes, but 1 CUDA GPU\(s\) here"),
    ],
)
def test_devices_that_several_processes_would_share_are_refused(monkeypatch, device, place, says):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    monkeypatch.setattr(accelerator_module, "resolve_device", lambda name: torch.device(place))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(InputError, match=says):
        make_accelerator(device, "full")


@pytest.mark.parametrize("few", ["adversarial.critic_users=1", "optimiser.batch_users=1"])
def test_batch_normalisation_of_one_row_is_refused(dataset, few):
    with pytest.raises(InputError, match="nothing to normalise over"):
        learner(dataset, "adversarial.critic_batch_norm=true", few)
