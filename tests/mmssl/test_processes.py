"""Which rows are whose; what processes do together is tested in training/test_launched.py."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from extract.errors import InputError
from mmssl import launch
from mmssl.processes import ONE, Processes


@given(st.integers(1, 50), st.integers(1, 9))
def test_parts_hold_every_row_once_and_shares_weigh_their_means(n, count):
    rows = np.random.default_rng(n).normal(size=n)
    processes = [Processes(index, count) for index in range(count)]
    parts = [rows[p.part(n)] for p in processes]
    assert np.array_equal(np.concatenate(parts), rows)
    sizes = [len(part) for part in parts]
    assert max(sizes) - min(sizes) <= 1
    total = sum(
        p.share(n) * part.mean() for p, part in zip(processes, parts, strict=True) if len(part)
    )
    assert total == pytest.approx(rows.mean(), abs=1e-12)


def test_one_process_does_what_it_is_told_and_draws_from_the_common_stream():
    def refuse():
        raise InputError("no")

    assert ONE.agree(lambda a, b: a + b, 1, b=2) == 3
    with pytest.raises(InputError, match=r"^no$"):
        ONE.on_main(refuse)
    torch.manual_seed(1)
    with ONE.own_draws():
        within = torch.rand(3)
    torch.manual_seed(1)
    assert torch.equal(within, torch.rand(3))


def test_own_draws_differ_between_processes_and_leave_the_common_stream_alike():
    within, after = [], []
    for index in range(2):
        torch.manual_seed(5)
        with Processes(index, 2).own_draws():
            # As many numbers as the process has rows.
            within.append(torch.rand(4 + index))
        after.append(torch.rand(6))
    assert not torch.equal(within[0], within[1][:4])
    assert torch.equal(*after)


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ({}, (0, 0, 1, 1, False)),
        (
            {"RANK": "5", "LOCAL_RANK": "1", "WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4"},
            (5, 1, 8, 4, False),
        ),
        ({"OMPI_COMM_WORLD_RANK": "2", "OMPI_COMM_WORLD_SIZE": "3"}, (2, 0, 3, 1, False)),
        ({"ACCELERATE_USE_CPU": "True", "MASTER_ADDR": "127.0.0.1"}, (0, 0, 1, 1, True)),
        ({"RANK": "main"}, (0, 0, 1, 1, False)),
    ],
)
def test_the_environment_tells_which_process_this_is(monkeypatch, environment, told):
    # Whatever the tests themselves run under.
    names = (*launch._INDEX, *launch._LOCAL_INDEX, *launch._COUNT, *launch._LOCAL_COUNT)
    for name in (*names, "ACCELERATE_USE_CPU", "MASTER_ADDR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    found = launch.index(), launch.local_index(), launch.count(), launch.local_count()
    assert (*found, launch.asked_for_several()) == told
