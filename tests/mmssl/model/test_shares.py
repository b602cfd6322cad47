"""The losses of several processes, each on its part of a batch, add up to those of one."""

import pytest
import torch

from mmssl.config import TrainingConfig
from mmssl.data.sampling import Batch, BatchSampler
from mmssl.model.mmssl import MMSSL
from mmssl.processes import ONE, Processes

SETTINGS = (
    "backbone.embedding_dim=8",
    "features.dropout=0",
    "contrast.weight=0.3",
    "optimiser.embedding_l2=0.1",
    "optimiser.feature_l2=0.1",
    "adversarial.weight=0.5",
    "adversarial.critic_users=7",
    "adversarial.critic_items=16",
    "adversarial.critic_dropout=[0, 0]",
)


def losses_and_gradients(dataset, processes, *settings):
    """Of one step on a batch of 13 users, in double precision."""
    config = TrainingConfig.load(None, [*SETTINGS, *settings])
    torch.manual_seed(0)
    draws = torch.Generator().manual_seed(1)
    observed = dataset.matrix("train")
    model = MMSSL(
        config, observed, dataset.features, draws, dtype=torch.float64, processes=processes
    )
    batch = BatchSampler(observed, 13, draws).draw()
    of_critic = model.critic_losses(batch)
    torch.stack(list(of_critic.values())).sum().backward()
    critic = {n: p.grad for n, p in model.critic.named_parameters() if p.grad is not None}
    model.critic.requires_grad_(False)
    of_model = model.losses(batch)
    torch.stack(list(of_model.values())).sum().backward()
    own = {
        n: p.grad
        for n, p in model.named_parameters()
        if p.grad is not None and not n.startswith("critic.")
    }
    return {n: v.detach() for n, v in (of_critic | of_model).items()}, critic | own


@pytest.mark.parametrize("count", [2, 3, 7])
@pytest.mark.parametrize(
    "settings",
    [
        (),
        ("contrast.anchor=collaborative", "contrast.stop_gradient=anchor"),
        ("contrast.stop_gradient=relation", "adversarial.forward=own"),
        ("adversarial.critic_weights=from_vectors", "adversarial.critic_output=sigmoid"),
        ("adversarial.real_rows=observed", "adversarial.critic_items=all"),
        ("reconstruction.weight=0.7", "features.missing=learned"),
        ("noise_contrast.weight=0.4", "backbone.dropout=0.2", "walks.weight=1"),
    ],
)
def test_losses_and_gradients_add_up_to_those_of_one_process(dataset, count, settings):
    values, gradients = losses_and_gradients(dataset, ONE, *settings)
    assert values["contrast"] > 0.1
    assert values["generator"] != 0
    parts = [
        losses_and_gradients(dataset, Processes(index, count), *settings) for index in range(count)
    ]
    for name, value in values.items():
        torch.testing.assert_close(sum(part[0][name] for part in parts), value)
    for name, gradient in gradients.items():
        total = sum(part[1][name] for part in parts)
        torch.testing.assert_close(total, gradient, rtol=1e-9, atol=1e-12)
    # Each process has a part of its own, none the whole.
    assert all(part[0]["bpr"] < values["bpr"] for part in parts)


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize(
    "batch",
    [
        Batch(torch.tensor([4]), torch.tensor([2]), torch.tensor([0])),  # an epoch's last one
        Batch(torch.tensor([4, 4, 4]), torch.tensor([2, 2, 2]), torch.tensor([0, 1, 3])),
    ],
    ids=["one interaction", "one user and item"],
)
def test_a_process_without_a_row_adds_nothing(dataset, count, batch):
    settings = ["optimiser.batches=interactions", "noise_contrast.weight=0.4", *SETTINGS[:5]]
    config = TrainingConfig.load(None, [*settings, "adversarial.weight=0"])

    def losses(processes):
        torch.manual_seed(0)
        model = MMSSL(
            config,
            dataset.matrix("train"),
            dataset.features,
            torch.Generator().manual_seed(1),
            dtype=torch.float64,
            processes=processes,
        )
        parts = model.losses(batch)
        torch.stack(list(parts.values())).sum().backward()
        return parts, model.item_id.grad

    whole, gradient = losses(ONE)
    of_each = [losses(Processes(index, count)) for index in range(count)]
    for name, value in whole.items():
        torch.testing.assert_close(sum(parts[name] for parts, _ in of_each), value)
    torch.testing.assert_close(sum(own for _, own in of_each), gradient)
