import numpy as np
import torch
from torch.nn.functional import embedding

from mmssl.training.checkpoint import flatten_optimiser, restore_optimiser
from mmssl.training.lazy import LazyAdamW

TARGET = torch.linspace(3, 5, 6, dtype=torch.float64).reshape(3, 2)


def table() -> torch.nn.Parameter:
    return torch.nn.Parameter(torch.arange(10, dtype=torch.float64).reshape(5, 2) / 10 + 0.1)


def descend(parameter, optimiser, rows):
    optimiser.zero_grad()
    taken = embedding(torch.tensor(rows), parameter, sparse=True)
    (taken - TARGET[: len(rows)]).square().sum().backward()
    optimiser.step()


def test_rows_touched_in_every_step_move_as_under_adamw():
    lazy, dense = table(), table()
    ours = LazyAdamW([lazy], lr=0.01, weight_decay=0.5)
    whole = torch.optim.AdamW([dense], lr=0.01, weight_decay=0.5)
    for _ in range(20):
        descend(lazy, ours, [4, 0, 2])
        whole.zero_grad()
        (dense[[4, 0, 2]] - TARGET).square().sum().backward()
        whole.step()
    np.testing.assert_allclose(lazy.detach()[[0, 2, 4]], dense.detach()[[0, 2, 4]], rtol=1e-12)
    assert not torch.equal(lazy[0], table()[0])


def test_rows_without_a_gradient_keep_values_moments_and_decay():
    parameter = table()
    optimiser = LazyAdamW([parameter], lr=0.01, weight_decay=0.5)
    descend(parameter, optimiser, [1, 3])
    before = parameter.detach().clone()
    moments = {k: v.clone() for k, v in optimiser.state[parameter].items() if k != "step"}
    assert set(moments) == {"exp_avg", "exp_avg_sq"}
    descend(parameter, optimiser, [3])
    left = [0, 1, 2, 4]
    assert torch.equal(parameter[left], before[left])
    assert not torch.equal(parameter[3], before[3])
    for name, moment in moments.items():
        assert torch.equal(optimiser.state[parameter][name][left], moment[left])


def test_decay_is_decoupled_and_once_a_step_however_often_a_row_is_taken():
    parameter = table()
    optimiser = LazyAdamW([parameter], lr=0.1, weight_decay=2.0)
    optimiser.zero_grad()
    # Taken twice with opposite signs: no gradient, but a touched row.
    taken = embedding(torch.tensor([2, 2]), parameter, sparse=True)
    (taken[0] - taken[1]).sum().backward()
    optimiser.step()
    np.testing.assert_allclose(parameter.detach()[2], table().detach()[2] * 0.8)
    np.testing.assert_array_equal(parameter.detach()[[0, 1, 3, 4]], table().detach()[[0, 1, 3, 4]])


def test_it_goes_on_exactly_from_its_saved_state():
    def steps(parameter, optimiser, rows):
        for row in rows:
            descend(parameter, optimiser, [row, (row + 1) % 5])

    straight, first = table(), table()
    whole, before = (LazyAdamW([p], lr=0.1, weight_decay=0.1) for p in (straight, first))
    steps(straight, whole, [0, 1, 2, 3])
    steps(first, before, [0, 1])
    tensors, facts = flatten_optimiser(before, "ids/")
    second = torch.nn.Parameter(first.detach().clone())
    after = LazyAdamW([second], lr=0.7, weight_decay=0.0)
    restore_optimiser(after, "ids/", tensors, facts)
    steps(second, after, [2, 3])
    assert torch.equal(straight, second)
