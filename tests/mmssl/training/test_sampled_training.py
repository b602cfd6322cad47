"""Training under `propagation: sampled`: which rows move, and that it goes on exactly."""

import pytest
import torch

from mmssl.config import TrainingConfig
from mmssl.training.accelerator import make_accelerator
from mmssl.training.checkpoint import load_checkpoint
from mmssl.training.lazy import LazyAdamW
from mmssl.training.learner import Learner
from mmssl.training.trainer import train

SETTINGS = (
    "backbone.embedding_dim=8",
    "backbone.propagation=sampled",
    "backbone.fan_outs=[2, 1]",
    "backbone.propagation_order=simultaneous",
    "optimiser.batch_users=16",
    "optimiser.learning_rate=0.02",
    "optimiser.epochs=4",
    "relations.warm_up=1",
    "relations.rate=0.1",
    "adversarial.critic_items=16",
    "adversarial.critic_users=8",
    "adversarial.critic_weights=from_vectors",
    "adversarial.weight=0.1",
)


def config(*settings: str) -> TrainingConfig:
    return TrainingConfig.load(None, [*SETTINGS, *settings])


def learner(dataset, *settings: str) -> Learner:
    accelerator = make_accelerator("cpu", "full")
    return Learner(config(*settings), dataset.matrix("train"), dataset.features, accelerator)


def test_the_id_tables_have_a_lazy_optimiser_and_all_else_has_adamw(dataset):
    built = learner(dataset, "optimiser.weight_decay=0.3")
    optimisers = dict(built._optimisers())
    tables = optimisers["table_optimiser"]
    assert isinstance(tables, LazyAdamW)
    (group,) = tables.param_groups
    assert (group["lr"], group["weight_decay"]) == (0.02, 0.3)
    assert [id(p) for p in group["params"]] == [id(built.model.user_id), id(built.model.item_id)]
    (group,) = optimisers["optimiser"].param_groups
    named = dict(built.model.named_parameters())
    assert {id(p) for p in group["params"]} == {
        id(p)
        for name, p in named.items()
        if name not in ("user_id", "item_id") and not name.startswith("critic.")
    }


def test_a_step_moves_the_rows_that_took_part_and_no_others(dataset, monkeypatch):
    """Decay would move every row of a table under AdamW."""
    built = learner(dataset, "optimiser.batch_users=2", "adversarial.critic_items=3")
    drawn = []
    draw = built.model.step_sampler.neighbourhoods.draw
    built.model.step_sampler.neighbourhoods.draw = lambda *given, **more: (
        drawn.append(draw(*given, **more)) or drawn[-1]
    )
    before = {n: p.detach().clone() for n, p in built.model.named_parameters()}
    built.step(built.sampler.draw())
    (hood,) = drawn
    for name, touched in (("user_id", hood.touched_users), ("item_id", hood.touched_items)):
        table = dict(built.model.named_parameters())[name]
        moved = (table != before[name]).any(dim=1).nonzero().squeeze(1)
        assert moved.tolist() == sorted(touched.tolist())
        assert len(moved) < len(table)
    for name in ("attention.w_cat", "projections.0.linear.weight", "critic.w1"):
        assert not torch.equal(dict(built.model.named_parameters())[name], before[name])


def test_gradient_norms_are_those_of_the_dense_gradients(dataset):
    built = learner(dataset)
    norms: dict = {}
    dense = {}
    descend = built._descend

    def watching():
        dense["user_id"] = built.model.user_id.grad.to_dense().norm().item()
        descend()

    built._descend = watching
    built.step(built.sampler.draw(), norms)
    assert norms["parameters"]["user_id"] == pytest.approx(dense["user_id"])
    assert norms["parts"]["bpr"] > 0


@pytest.fixture(scope="module")
def finished(dataset, tmp_path_factory):
    return train(config(), dataset, tmp_path_factory.mktemp("runs") / "run")


def test_it_learns_more_than_popularity_where_tastes_differ(dataset, tmp_path):
    result = train(config("optimiser.epochs=8"), dataset, tmp_path / "run")
    assert result.metrics["recall@10"] > result.popularity["recall@10"] + 0.1


@pytest.mark.parametrize("stop_after", [1, 3])
def test_an_interrupted_run_goes_on_to_the_same_bits(finished, dataset, tmp_path, stop_after):
    reported = []

    def interrupt(line):
        reported.append(line)
        if len(reported) == stop_after:
            raise KeyboardInterrupt

    out = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        train(config(), dataset, out, report=interrupt)
    resumed = train(config(), dataset, out)
    assert resumed.metrics == finished.metrics
    theirs, ours = (load_checkpoint(run / "checkpoints" / "last") for run in (finished.path, out))
    assert "table_optimiser/0.exp_avg" in ours[0]
    assert ours[0].keys() == theirs[0].keys()
    assert all(torch.equal(ours[0][name], theirs[0][name]) for name in ours[0])
