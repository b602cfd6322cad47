"""Seconds by section, with a clock that the test turns by hand."""

import json

import pytest
import torch
from torch import nn

from mmssl.training import profile as module
from mmssl.training.profile import Profile


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 100.0

    monkeypatch.setattr(module.time, "perf_counter", lambda: Clock.now)
    return Clock


def test_an_inner_section_stops_the_outer_ones_clock(clock, tmp_path):
    profile = Profile(torch.device("cpu"))
    clock.now += 1  # in no section
    with profile.section("losses"):
        clock.now += 2
        with profile.section("forward"):
            clock.now += 4
        clock.now += 8
    with profile.section("forward"):
        clock.now += 16
    assert profile.seconds() == {"forward": 20, "losses": 10, "other": 1, "all": 31}
    lines = profile.write(tmp_path / "profile.json", reached="epoch 1")
    written = json.loads((tmp_path / "profile.json").read_text())
    assert written["reached"] == "epoch 1"
    assert written["sections"]["losses"] == {"seconds": 10, "share": round(10 / 31, 4)}
    assert lines[1].split() == ["forward", "20.00", "s", "64.5%"]


def test_a_section_ends_with_an_exception(clock):
    profile = Profile(torch.device("cpu"))

    def fall_over():
        clock.now += 2
        raise KeyError

    with pytest.raises(KeyError), profile.section("losses"):
        fall_over()
    clock.now += 3
    assert profile.seconds() == {"losses": 2, "other": 3, "all": 5}


def test_a_module_is_counted_only_within_the_section_named(clock):
    class Slow(nn.Module):
        def forward(self):
            clock.now += 5

    profile, slow = Profile(torch.device("cpu")), Slow()
    profile.watch(slow, "forward", "losses")
    with profile.section("losses"):
        clock.now += 1
        slow()
    for section in ("evaluation", "forward"):
        with profile.section(section):
            slow()
    assert profile.seconds() == {"forward": 10, "evaluation": 5, "losses": 1, "other": 0, "all": 16}


def test_switched_off_it_counts_and_writes_nothing(tmp_path):
    profile, linear = Profile(torch.device("cpu"), enabled=False), nn.Linear(1, 1)
    profile.watch(linear, "forward", "losses")
    with profile.section("losses"):
        linear(torch.zeros(1))
    assert set(profile.seconds()) == {"other", "all"}
    assert profile.write(tmp_path / "profile.json") == []
    assert not (tmp_path / "profile.json").exists()
