"""Every option of a training run acts: each is changed alone, and the trained vectors differ."""

import json
from functools import cache

import pytest
import torch

from mmssl.config import TrainingConfig
from mmssl.model.config import MMSSLConfig
from mmssl.recommend.model_folder import SavedModel
from mmssl.settings import setting_names
from mmssl.training.checkpoint import load_checkpoint
from mmssl.training.trainer import train

BASE = {
    "backbone.embedding_dim": 8,
    "optimiser.batch_users": 16,
    "optimiser.epochs": 4,
    "optimiser.learning_rate": 0.02,
    "relations.warm_up": 1,
    "relations.rate": 0.11,
    "adversarial.critic_items": 16,
    "adversarial.critic_users": 8,
    "adversarial.weight": 0.1,
    "adversarial.gumbel_temperature": 0.5,
    "adversarial.gumbel_scale": 0.1,
}

CHANGES = {
    "seed": 2,
    "features.modalities": "[image]",
    "features.scaling": "unit",
    "features.missing": "mean",
    "features.dropout": 0.5,
    "backbone.embedding_dim": 16,
    "backbone.heads": 2,
    "backbone.attention": "identity",
    "backbone.layers": 1,
    "backbone.normalisation": "symmetric",
    "backbone.propagation_order": "simultaneous",
    "backbone.final_softmax": "true",
    "backbone.propagation": "sampled",
    "backbone.fan_outs": "[1]",
    "backbone.relation_rate": 0.1,
    "backbone.feature_rate": 0.1,
    "neighbours.item_rate": 0.5,
    "neighbours.items": 3,
    "neighbours.user_rate": 0.5,
    "neighbours.users": 3,
    "backbone.dropout": 0.3,
    "noise_contrast.weight": 0.3,
    "noise_contrast.temperature": 0.5,
    "noise_contrast.noise": 0.5,
    "ranking.loss": "softmax",
    "ranking.negatives": 8,
    "ranking.temperature": 0.2,
    "relations.graph": "union",
    "relations.rate": 0.3,
    "relations.similarity": "cosine",
    "relations.rounding": "down",
    "relations.pairing": "tiled",
    "relations.schedule": "steps",
    "relations.max_neighbours": 1,
    "relations.warm_up": 2,
    "relations.refresh": 2,
    "contrast.weight": 0.3,
    "contrast.temperature": 0.1,
    "contrast.anchor": "collaborative",
    "contrast.stop_gradient": "anchor",
    "adversarial.weight": 1.0,
    "adversarial.mask_observed": "false",
    "adversarial.critic_users": 4,
    "adversarial.critic_items": 8,
    "adversarial.critic_hidden": "[16, 8]",
    "adversarial.critic_dropout": "[0.1, 0.1]",
    "adversarial.critic_weights": "from_vectors",
    "adversarial.critic_slope": 1.0,
    "adversarial.critic_batch_norm": "true",
    "adversarial.critic_output": "sigmoid",
    "adversarial.critic_learning_rate": 0.01,
    "adversarial.gradient_penalty": 1.0,
    "adversarial.gumbel_temperature": 0.1,
    "adversarial.gumbel_scale": 1.0,
    "adversarial.temperature_on": "noise",
    "adversarial.real_rows": "observed",
    "adversarial.forward": "own",
    "adversarial.prediction_scale": 5.0,
    "reconstruction.weight": 0.5,
    "optimiser.learning_rate": 0.01,
    "optimiser.schedule": "linear",
    "optimiser.warm_up_steps": 10,
    "optimiser.clip_norm": 0.01,
    "optimiser.weight_decay": 1.0,
    "optimiser.embedding_l2": 0.1,
    "optimiser.feature_l2": 0.1,
    "optimiser.embedding_l2_on": "ids",
    "optimiser.batches": "interactions",
    "optimiser.batch_users": 8,
    "precision": "bf16",
}

# These change what is kept, or what it is called, not each step.
OTHERWISE_TESTED = {
    *("model", "name", "selection_metric", "optimiser.epochs", "optimiser.patience"),
    *("walks.weight", "walks.steps", "walks.neighbours"),
}


# What an option needs to be possible, or to mean anything; the same in the run it is compared with.
NEEDS = {
    "neighbours.items": {"neighbours.item_rate": 0.5},
    "neighbours.users": {"neighbours.user_rate": 0.5},
    "noise_contrast.temperature": {"noise_contrast.weight": 0.3},
    "noise_contrast.noise": {"noise_contrast.weight": 0.3},
    "ranking.negatives": {"ranking.loss": "softmax"},
    "ranking.temperature": {"ranking.loss": "softmax"},
    "optimiser.embedding_l2_on": {"optimiser.embedding_l2": 0.1},
    "backbone.propagation": {"adversarial.critic_weights": "from_vectors"},
    "backbone.fan_outs": {
        "backbone.propagation": "sampled",
        "adversarial.critic_weights": "from_vectors",
    },
}

# Values whose path no single change above takes.
OTHER_VALUES = [
    ("features.scaling", "standardise"),
    ("features.missing", "learned"),
    ("relations.graph", "observed"),
    ("adversarial.critic_items", "all"),
    ("adversarial.critic_hidden", "catalogue"),
    ("backbone.attention", "scrambled"),
    ("contrast.stop_gradient", "relation"),
    ("optimiser.schedule", "cosine"),
]


def run(dataset, out, changes):
    settings = [f"{key}={value}" for key, value in {**BASE, **changes}.items()]
    train(TrainingConfig.load(None, settings), dataset, out)


def last_parameters(out):
    """Those after the last epoch: the best epoch may be too early to show an effect."""
    tensors, _ = load_checkpoint(out / "checkpoints" / "last")
    return {name: tensor for name, tensor in tensors.items() if name.startswith("model/")}


@pytest.fixture(scope="module")
def before(dataset, tmp_path_factory):
    """The parameters of the run that an option's is compared with; each run is made once."""

    @cache
    def parameters(needs):
        out = tmp_path_factory.mktemp("base") / "run"
        run(dataset, out, dict(needs))
        return last_parameters(out)

    return lambda option: parameters(tuple(NEEDS.get(option, {}).items()))


def test_every_option_is_covered():
    assert set(setting_names(MMSSLConfig)) == set(CHANGES) | OTHERWISE_TESTED


@pytest.mark.parametrize(("option", "value"), [*CHANGES.items(), *OTHER_VALUES])
def test_the_option_acts(option, value, dataset, tmp_path, before):
    run(dataset, tmp_path / "run", {**NEEDS.get(option, {}), option: value})
    now, then = last_parameters(tmp_path / "run"), before(option)
    # The critic's own weights would show a change that never reaches the recommendations.
    shared = [name for name in now if name in then and not name.startswith("model/critic.")]
    assert "model/user_id" in shared
    same = all(
        now[name].shape == then[name].shape and torch.equal(now[name], then[name])
        for name in shared
    )
    assert not same, f"{option}={value} changed nothing"


def epochs(out) -> list[dict]:
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [line for line in lines if line["event"] == "epoch"]


def test_epochs_and_patience_end_training(dataset, tmp_path):
    run(dataset, tmp_path / "long", {"optimiser.epochs": 3, "optimiser.patience": 100})
    assert len(epochs(tmp_path / "long")) == 3
    # A rate so small that no list changes: every epoch is as good as the first.
    still = {"optimiser.learning_rate": 1e-12, "optimiser.weight_decay": 0, "relations.warm_up": 99}
    run(dataset, tmp_path / "still", {**still, "optimiser.epochs": 50, "optimiser.patience": 2})
    assert len(epochs(tmp_path / "still")) == 3


def test_the_walks_enter_the_scores_of_the_saved_model_and_nothing_learned(dataset, tmp_path):
    walking = {"walks.weight": 1.0, "optimiser.epochs": 1}
    changes = [{}, {"walks.weight": 0.5}, {"walks.steps": 1}, {"walks.neighbours": 2}]
    scores, learned = [], []
    for number, change in enumerate([{"walks.weight": 0.0}, *changes]):
        out = tmp_path / str(number)
        run(dataset, out, {**walking, **change})
        saved = SavedModel.load(out)
        scores.append(saved.score(torch.device("cpu"))(torch.arange(5)))
        learned.append(saved.parameters["user_id"])
    assert all(torch.equal(learned[0], other) for other in learned[1:])
    for one in range(len(scores)):
        for other in range(one):
            assert not torch.allclose(scores[one], scores[other])


def test_the_selection_metric_chooses_the_epoch(dataset, tmp_path):
    changes = {"optimiser.epochs": 12, "optimiser.patience": 100}
    for metric in ("recall@10", "ndcg@50"):
        out = tmp_path / metric
        run(dataset, out, {**changes, "selection_metric": metric})
        values = [line["validation"][metric] for line in epochs(out)]
        chosen = json.loads((out / "metrics.json").read_text())["best_epoch"]
        assert chosen == values.index(max(values)) + 1


def test_the_name_stands_in_the_model(dataset, tmp_path):
    run(dataset, tmp_path / "run", {"name": "mine"})
    assert SavedModel.load(tmp_path / "run").info.variant == "mine"
