"""What every model but MMSSL has to do, whatever it computes: one test each over all of them."""

import json
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import scipy.sparse as sp
import torch

import configs
from mmssl.config import LearnedConfig, TrainingConfig
from mmssl.contract import ItemGraphModel
from mmssl.data.dataset import ModalityFeatures
from mmssl.evaluation.evaluate import evaluate
from mmssl.models import MODELS, build_model, config_class
from mmssl.recommend.model_folder import SavedModel
from mmssl.recommend.recommender import Recommender
from mmssl.settings import setting_names
from mmssl.training.accelerator import make_accelerator
from mmssl.training.checkpoint import load_checkpoint
from mmssl.training.learner import Learner
from mmssl.training.signals import TrainingInterrupted
from mmssl.training.trainer import train


@dataclass(frozen=True)
class Case:
    """One model."""

    changes: dict[str, object] = field(default_factory=dict)
    """Every setting of its own, with a value that must change what it learns."""
    base: dict[str, object] = field(default_factory=dict)
    """Settings with which it learns something on a few small data."""
    needs: dict[str, dict[str, object]] = field(default_factory=dict)
    """Setting -> what has to be set too, in both runs, for it to mean anything."""


LEARNED = {
    "embedding_dim": 8,
    "optimiser.batch_size": 32,
    "optimiser.learning_rate": 0.02,
    "optimiser.epochs": 4,
}
LEARNED_CHANGES = {
    "seed": 2,
    "embedding_dim": 16,
    "optimiser.batch_size": 16,
    "optimiser.learning_rate": 0.01,
    "optimiser.schedule": "linear",
    "optimiser.warm_up_steps": 5,
    "optimiser.clip_norm": 0.001,
    "optimiser.weight_decay": 1.0,
}
DENSE = {"precision": "bf16"}
FEATURES = {"features.modalities": "[image]", "features.scaling": "unit"}

CASES = {
    "popularity": Case(),
    "item_knn": Case(changes={"neighbours": 2, "shrinkage": 3.0}),
    "random_walk": Case(changes={"steps": 1, "neighbours": 2}),
    "bpr_mf": Case(changes={"embedding_l2": 0.1}),
    "lightgcn": Case(changes={"layers": 2, "embedding_l2": 0.1}),
    "sgl": Case(
        changes={
            **DENSE,
            "layers": 2,
            "embedding_l2": 0.1,
            "edge_dropout": 0.5,
            "contrast_weight": 0.01,
            "temperature": 0.5,
            "contrast_negatives": "batch",
        }
    ),
    "xsimgcl": Case(
        changes={
            **DENSE,
            "layers": 2,
            "embedding_l2": 0.1,
            "noise": 0.01,
            "contrast_layer": 2,
            "contrast_weight": 0.01,
            "temperature": 0.5,
        }
    ),
    "content_knn": Case(
        changes={"features.modalities": "[image]", "features.scaling": "none", "neighbours": 3},
        base={"neighbours": 5},
    ),
    "vbpr": Case(
        changes={
            **FEATURES,
            **DENSE,
            "feature_dim": 16,
            "embedding_l2": 0.1,
            "projection_l2": 0.1,
        },
        base={"feature_dim": 8},
    ),
    "freedom": Case(
        changes={
            **FEATURES,
            **DENSE,
            "neighbours": 2,
            "modality_weights": "{image: 0.9, audio: 0.1}",
            "layers": 1,
            "item_layers": 2,
            "pruning": 0.2,
            "feature_weight": 0.1,
        },
        base={"neighbours": 4, "pruning": 0.5},
    ),
    "bm3": Case(
        changes={
            **FEATURES,
            **DENSE,
            "layers": 2,
            "dropout": 0.5,
            "alignment_weight": 0.5,
            "mask_weight": 0.5,
            "embedding_l2": 0.1,
        },
    ),
    "mgcn": Case(
        changes={
            **FEATURES,
            **DENSE,
            "neighbours": 2,
            "layers": 1,
            "item_layers": 2,
            "contrast_weight": 0.1,
            "temperature": 0.5,
            "embedding_l2": 0.1,
        },
        base={"neighbours": 4},
    ),
    "lattice": Case(
        changes={
            **FEATURES,
            "feature_dim": 16,
            "neighbours": 2,
            "skip_weight": 0.1,
            "layers": 1,
            "item_layers": 2,
            "embedding_l2": 0.1,
        },
        base={"feature_dim": 8, "neighbours": 4, "skip_weight": 0.5},
    ),
}

# These change when training ends, or what it is called; or, of a model without learning, nothing.
ELSEWHERE = {"model", "name", "selection_metric", "optimiser.epochs", "optimiser.patience"}
NAMES = [name for name in MODELS if name != "mmssl"]
LEARNING = [name for name in NAMES if issubclass(config_class(name, ""), LearnedConfig)]


def changes_of(name: str) -> dict[str, object]:
    return {**(LEARNED_CHANGES if name in LEARNING else {}), **CASES[name].changes}


def config_of(name: str, **settings: object) -> TrainingConfig:
    given = {**(LEARNED if name in LEARNING else {}), **CASES[name].base, **settings}
    return TrainingConfig.load(None, [f"model={name}", *(f"{k}={v}" for k, v in given.items())])


# --- learning ------------------------------------------------------------------------------------

# Users and items of two kinds, each kind of users with its own kind of items.
CHECKERBOARD = (np.indices((12, 12)).sum(axis=0) % 2).astype(np.float32)


def checkerboard_features() -> dict[str, ModalityFeatures]:
    draw = np.random.default_rng(0)
    kinds = np.eye(2, dtype=np.float32)[np.arange(12) % 2]
    return {
        m: ModalityFeatures(
            vectors=np.hstack([kinds, 0.1 * draw.normal(size=(12, 3))]).astype(np.float32),
            present=np.ones(12, dtype=bool),
            encoder=None,
            digest="",
        )
        for m in ("image", "audio")
    }


def learner_of(name: str, observed: np.ndarray, **settings: object) -> Learner:
    config = config_of(name, **settings)
    features = {} if config.modalities == () else checkerboard_features()
    return Learner(config, sp.csr_array(observed), features, make_accelerator("cpu", "full"))


@pytest.mark.parametrize("name", [n for n in NAMES if n != "popularity"])
def test_it_learns_the_checkerboard(name):
    observed = CHECKERBOARD.copy()
    observed[0, 3] = 0
    learner = learner_of(name, observed)
    model = learner.model
    for epoch in range(1, 61 if name in LEARNING else 1):
        model.begin_epoch(epoch)
        model.train()
        for _ in range(len(learner.sampler)):
            learner.step(learner.sampler.draw())
        model.end_epoch(epoch)
    model.eval()
    scores = model.score()(torch.arange(12))
    fitting = torch.from_numpy(CHECKERBOARD > 0)
    # Every item of a user's own kind stands above every other, the one that was kept back too.
    lowest = scores.masked_fill(~fitting, torch.inf).min(dim=1).values
    highest = scores.masked_fill(fitting, -torch.inf).max(dim=1).values
    assert (lowest > highest).all()


@pytest.mark.parametrize("name", NAMES)
def test_a_block_of_users_is_scored_as_each_of_them_and_may_be_overwritten(name):
    model = learner_of(name, CHECKERBOARD).model.eval()
    block = model.score()(torch.tensor([4, 1, 7]))
    assert block.shape == (3, 12)
    for row, user in enumerate((4, 1, 7)):
        torch.testing.assert_close(block[row], model.score()(torch.tensor([user]))[0])
    before = block.clone()
    block[:] = -torch.inf
    torch.testing.assert_close(model.score()(torch.tensor([4, 1, 7])), before)


@pytest.mark.parametrize("name", NAMES)
def test_what_it_exports_scores_as_it_does(name):
    model = learner_of(name, CHECKERBOARD).model.eval()
    wanted = model.score()(torch.arange(12))
    if isinstance(model, ItemGraphModel):
        found = torch.from_numpy((sp.csr_array(CHECKERBOARD) @ model.item_graph()).toarray())
    else:
        users, items = model.embeddings()
        found = users @ items.T
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("name", LEARNING)
def test_every_part_of_its_objective_moves_it(name):
    learner = learner_of(name, CHECKERBOARD)
    norms: dict = {}
    learner.model.begin_epoch(1)
    learner.model.train()
    learner.step(learner.sampler.draw(), norms)
    assert norms["parts"]
    assert all(norm > 0 for norm in norms["parts"].values()), norms["parts"]
    still = [parameter for parameter, norm in norms["parameters"].items() if not norm > 0]
    assert not still


# --- settings ------------------------------------------------------------------------------------


def run(name, dataset, out, settings=(), **options):
    config = config_of(name, **dict(settings))
    return train(config, dataset, out, device="cpu", **options)


def learned(out) -> dict[str, torch.Tensor]:
    """What the last epoch left, and what scores."""
    tensors, _ = load_checkpoint(out / "checkpoints" / "last")
    saved = SavedModel.load(out)
    tensors = {name: tensor for name, tensor in tensors.items() if name.startswith("model/")}
    return tensors | {"scores": saved.score(torch.device("cpu"))(torch.arange(40))}


@pytest.fixture(scope="module")
def before(dataset, tmp_path_factory):
    @cache
    def run_once(name, needs):
        out = tmp_path_factory.mktemp(name) / "run"
        run(name, dataset, out, needs)
        return learned(out)

    return run_once


@pytest.mark.parametrize("name", NAMES)
def test_every_setting_is_covered(name):
    without_effect = {"seed"} if name not in LEARNING else set()
    known = set(changes_of(name)) | ELSEWHERE | without_effect
    assert set(setting_names(config_class(name, ""))) <= known
    assert set(changes_of(name)) <= set(setting_names(config_class(name, "")))


@pytest.mark.parametrize(
    ("name", "setting", "value"),
    [(name, *change) for name in NAMES for change in changes_of(name).items()],
)
def test_the_setting_acts(name, setting, value, dataset, tmp_path, before):
    needs = CASES[name].needs.get(setting, {})
    run(name, dataset, tmp_path / "run", {**needs, setting: value})
    now, then = learned(tmp_path / "run"), before(name, tuple(needs.items()))
    same = now.keys() == then.keys() and all(
        now[key].shape == then[key].shape and torch.equal(now[key], then[key]) for key in now
    )
    assert not same, f"{setting}={value} changed nothing"


SHIPPED = sorted((Path(configs.__file__).parent / "baselines").glob("*.yaml"))


@pytest.mark.parametrize("path", SHIPPED, ids=[path.stem for path in SHIPPED])
def test_what_is_shipped_configures_the_model_that_it_is_called_after(path):
    config = TrainingConfig.load(path)
    assert (config.model, config.name) == (path.stem, path.stem)


# --- the whole way -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_from_training_to_lists(name, dataset, tmp_path):
    result = run(name, dataset, tmp_path / "run")
    figures = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert figures["metrics"] == result.metrics
    # What was saved measures as what was trained.
    assert evaluate(tmp_path / "run", data=dataset.path).metrics == pytest.approx(result.metrics)
    lists = Recommender.load(tmp_path / "run", "cpu").recommend(k=5)
    assert lists.group_by("user_id").len()["len"].to_list() == [5] * 40
    seen = set(
        zip(
            np.concatenate([dataset.train.users, dataset.val.users]).tolist(),
            np.concatenate([dataset.train.items, dataset.val.items]).tolist(),
            strict=True,
        )
    )
    users = {id_: row for row, id_ in enumerate(dataset.user_ids.ids)}
    items = {id_: row for row, id_ in enumerate(dataset.item_ids.ids)}
    listed = zip(lists["user_id"], lists["item_id"], strict=True)
    assert not seen & {(users[user], items[item]) for user, item in listed}
    assert lists.select(pl.col("score").is_finite().all()).item()
    card = (tmp_path / "run" / "model" / "README.md").read_text()
    assert f"\n---\n\n# {name}, variant " in card


@pytest.mark.parametrize("name", LEARNING)
def test_an_interrupted_training_ends_in_the_same_bits(name, dataset, tmp_path):
    run(name, dataset, tmp_path / "whole")

    class StopError(Exception):
        pass

    def stop_after_two(line: str) -> None:
        if line.startswith("epoch 2"):
            raise StopError

    with pytest.raises(StopError):
        run(name, dataset, tmp_path / "cut", report=stop_after_two)
    run(name, dataset, tmp_path / "cut")
    whole, cut = learned(tmp_path / "whole"), learned(tmp_path / "cut")
    assert whole.keys() == cut.keys()
    assert all(torch.equal(whole[key], cut[key]) for key in whole)


@pytest.mark.parametrize("name", LEARNING)
def test_it_goes_on_within_an_epoch(name, dataset, monkeypatch, tmp_path):
    """A checkpoint is taken in the middle of the second epoch, and training is broken off there."""
    run(name, dataset, tmp_path / "whole")
    steps = {"done": 0}
    step = Learner.step

    def counted(self, *args, **kwargs):
        steps["done"] += 1
        if steps["done"] == 6:
            raise TrainingInterrupted(2, "in the test")
        return step(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(Learner, "step", counted)
        with pytest.raises(TrainingInterrupted):
            run(name, dataset, tmp_path / "cut", save_minutes=1e-9)
    run(name, dataset, tmp_path / "cut")
    whole, cut = learned(tmp_path / "whole"), learned(tmp_path / "cut")
    assert all(torch.equal(whole[key], cut[key]) for key in whole)


@pytest.mark.parametrize("name", NAMES)
def test_its_users_and_items_are_those_of_its_data(name):
    config = config_of(name)
    features = {} if config.modalities == () else checkerboard_features()
    observed = sp.csr_array(CHECKERBOARD[:5])
    model = build_model(config, observed, features, torch.Generator().manual_seed(0))
    assert model.eval().score()(torch.arange(5)).shape == (5, 12)
