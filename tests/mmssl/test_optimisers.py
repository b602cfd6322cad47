"""Torch's optimisers undecorated: the same steps, and nothing of the compiler loaded."""

import subprocess
import sys
from copy import deepcopy

import pytest
import torch

from mmssl import optimisers

KINDS = {
    "adam": (optimisers.Adam, torch.optim.Adam, {"lr": 0.02, "betas": (0.5, 0.9)}),
    "adamw": (optimisers.AdamW, torch.optim.AdamW, {"lr": 0.02, "weight_decay": 0.1}),
}


def descend(make, settings, steps, state=None):
    draw = torch.Generator().manual_seed(3)
    weight = torch.nn.Parameter(torch.randn(5, 4, generator=draw))
    optimiser = make([weight], **settings)
    if state is not None:
        optimiser.load_state_dict(deepcopy(state))
    target = torch.randn(5, 4, generator=draw)
    for _ in range(steps):
        optimiser.zero_grad()
        (weight - target).square().sum().backward()
        optimiser.step()
    return weight, optimiser


@pytest.mark.parametrize("kind", KINDS)
def test_steps_are_torchs_own(kind):
    ours, theirs, settings = KINDS[kind]
    weight, optimiser = descend(ours, settings, 7)
    expected, reference = descend(theirs, settings, 7)
    assert torch.equal(weight, expected)
    # In a run before or after torch's: its hooks on the class leave ours alone.
    assert torch.equal(descend(ours, settings, 7)[0], expected)
    kept, theirs_kept = (o.state_dict() for o in (optimiser, reference))
    assert kept["param_groups"] == theirs_kept["param_groups"]
    assert kept["state"][0].keys() == theirs_kept["state"][0].keys()
    for name, value in kept["state"][0].items():
        assert torch.equal(value, theirs_kept["state"][0][name])


@pytest.mark.parametrize("kind", KINDS)
def test_goes_on_from_a_state_of_torchs(kind):
    ours, theirs, settings = KINDS[kind]
    state = descend(theirs, settings, 4)[1].state_dict()
    weight = descend(ours, settings, 3, state)[0]
    assert torch.equal(weight, descend(theirs, settings, 3, state)[0])


def test_a_step_leaves_no_gradient_graph_behind():
    weight, _ = descend(optimisers.AdamW, {"lr": 0.1}, 2)
    assert weight.requires_grad
    assert weight.is_leaf


TRAINED = """
import sys
import numpy as np, scipy.sparse as sp
from mmssl import TrainingConfig
from mmssl.data.dataset import ModalityFeatures
from mmssl.training.accelerator import make_accelerator
from mmssl.training.learner import Learner

few = {"image": ModalityFeatures(np.eye(16, dtype=np.float32), np.ones(16, bool), None, "")}
observed = sp.csr_array(np.eye(8, 16, dtype=np.float32))
config = TrainingConfig.load(None, ["optimiser.clip_norm=1"])
learner = Learner(config, observed, few, make_accelerator("cpu", "full"))
learner.step(learner.sampler.draw())
learner.state()
print("torch._dynamo" in sys.modules)
"""


def test_a_training_loads_no_compiler():
    done = subprocess.run(
        [sys.executable, "-c", TRAINED], capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"
