"""What is said of a finished run."""

from pathlib import Path

import pytest

from mmssl.training.result import TrainingResult


def lines(value=0.2, floor=0.1, model="mmssl", interactions=100) -> list[str]:
    result = TrainingResult(
        Path("run"),
        3,
        {"recall@20": 0.5, "ndcg@20": 0.5, "ndcg@10": value},
        {"recall@20": 0.1, "ndcg@20": 0.1, "ndcg@10": floor},
        selection_metric="ndcg@10",
        model=model,
        val_interactions=interactions,
    )
    assert result.lines()[:3] == ["run: run", "best epoch: 3", "validation:"]
    return result.lines()[5:]


def test_of_good_figures_nothing_more_is_said():
    assert lines() == []


@pytest.mark.parametrize("value", [0.1, 0.05])
def test_a_model_that_is_not_above_popularity_has_learned_nothing_of_use(value):
    assert lines(value) == [
        f"not above popularity (ndcg@10 {value:.4f} against 0.1000): it has learned nothing of use;"
        " more interactions, or other settings"
    ]
    assert lines(value, model="popularity") == []


def test_figures_of_few_validation_interactions_are_coarse():
    assert lines(interactions=1) == ["validation holds 1 interaction: its figures are coarse"]
    assert lines(interactions=99) == ["validation holds 99 interactions: its figures are coarse"]
