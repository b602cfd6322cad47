"""The benchmark of scale: its data are what it says, and a small run of it prints a cost."""

import json
import subprocess
import sys

import numpy as np
import pytest

from benchmarks.scale import Size, exponent, power_law, stand_in_relations


def test_the_data_have_the_size_asked_for_and_distinct_pairs():
    observed, features = power_law(
        Size(500, 200, 6_000, modalities=3, dim=7), np.random.default_rng(0)
    )
    assert observed.shape == (500, 200)
    assert observed.nnz == 6_000
    assert observed.has_canonical_format
    assert set(observed.data) == {1}
    assert [given.vectors.shape for given in features.values()] == [(200, 7)] * 3


def test_degrees_follow_a_power_law_of_the_rank():
    observed, _ = power_law(Size(20_000, 5_000, 200_000), np.random.default_rng(0))
    degrees = np.sort(observed.sum(axis=0))[::-1]
    # Rank 10 over rank 1000: (10 / 1000)^-0.8 = 40; a few pairs fall together at the top.
    assert 25 < degrees[9] / degrees[999] < 45
    users = np.sort(observed.sum(axis=1))[::-1]
    assert 100**0.6 * 0.6 < users[9] / users[999] < 100**0.6 * 1.2


def test_the_same_seed_draws_the_same_data():
    size = Size(50, 40, 300)
    first, again, other = (power_law(size, np.random.default_rng(seed))[0] for seed in (1, 1, 2))
    assert (first != again).nnz == 0
    assert (first != other).nnz > 0


def test_stand_in_relations_have_at_most_k_distinct_edges_a_user():
    edges = stand_in_relations(Size(100, 1_000, 1), 6, np.random.default_rng(0))
    degrees = np.diff(edges.indptr)
    assert degrees.max() == 6
    assert degrees.mean() > 5
    assert set(edges.data) == {1}


def test_the_exponent_is_that_of_the_power():
    sizes = [1, 2, 4, 8]
    assert exponent(sizes, [3 * n**0.7 for n in sizes]) == pytest.approx(0.7)


def test_a_run_measures_every_size_and_fits_the_exponents(tmp_path):
    command = [
        *(sys.executable, "benchmarks/train.py", "--users", "80", "--items", "60"),
        *("--interactions", "600", "--dim", "4", "--steps", "2", "--refresh-share", "0.2"),
        *("--sizes", "2", "--json", str(tmp_path / "cost.json"), "optimiser.batch_users=8"),
    ]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert "80 users x 60 items, 600 interactions" in printed
    assert "(extrapolated" in printed
    result = json.loads((tmp_path / "cost.json").read_text())
    small, large = result["costs"]
    assert (small["size"]["users"], large["size"]["users"]) == (40, 80)
    assert large["steps_per_epoch"] == 600 // 8 + 1
    steps = large["steps_per_epoch"] * large["seconds_per_step"]
    rest = sum(large[f"seconds_per_{part}_extrapolated"] for part in ("refresh", "evaluation"))
    assert large["seconds_per_epoch_extrapolated"] == pytest.approx(steps + rest)
    assert 0.05 < large["peak_gib"] < 4
    assert set(result["exponents"]) == {"peak_gib", "seconds_per_step", "cpu_seconds_per_step"}
