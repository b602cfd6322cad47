"""Training, evaluation and lists on a GPU beside the CPU; skipped where there is none."""

import json

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array, random_array

from mmssl.config import LearnedConfig, TrainingConfig
from mmssl.data.dataset import Interactions
from mmssl.evaluation.evaluate import evaluate, evaluate_scores
from mmssl.evaluation.ranking import InnerProduct, top_k
from mmssl.models import MODELS, config_class
from mmssl.recommend.model_folder import SavedModel
from mmssl.recommend.recommender import Recommender
from mmssl.settings import shipped
from mmssl.training.accelerator import make_accelerator
from mmssl.training.learner import Learner
from mmssl.training.trainer import train

# Nothing that the device draws by itself: what it drops and what noise it adds are its own.
MMSSL = (
    "backbone.embedding_dim=8",
    "optimiser.batch_users=16",
    "optimiser.learning_rate=0.02",
    "features.dropout=0",
    "relations.warm_up=1",
    "relations.rate=0.1",
    "relations.graph=learned",
    "adversarial.critic_items=16",
    "adversarial.critic_users=8",
    "adversarial.critic_dropout=[0, 0]",
    "adversarial.gumbel_scale=0",
    "adversarial.weight=0.1",
)
BASELINE = ("embedding_dim=8", "optimiser.batch_size=32", "optimiser.learning_rate=0.02")
OF_MODEL = {
    "bm3": ("dropout=0",),
    "vbpr": ("feature_dim=8",),
    "freedom": ("neighbours=4",),
    "mgcn": ("neighbours=4",),
    "lattice": ("feature_dim=8", "neighbours=4"),
    "content_knn": ("neighbours=5",),
}
# Their noise is the device's own.
NOISY = {"xsimgcl"}


def config_of(name: str, *settings: str) -> TrainingConfig:
    if name == "mmssl":
        return TrainingConfig.load(None, [*MMSSL, *settings])
    learned = BASELINE if issubclass(config_class(name, ""), LearnedConfig) else ()
    return TrainingConfig.load(
        None, [f"model={name}", *learned, *OF_MODEL.get(name, ()), *settings]
    )


def losses(config: TrainingConfig, dataset, device: torch.device, epochs=2) -> list[dict]:
    """The parts of every step, and the scores after the last."""
    learner = Learner(
        config,
        dataset.matrix("train"),
        {} if config.modalities == () else dataset.features,
        make_accelerator(str(device), "full"),
    )
    model, values = learner.model, []
    if isinstance(config, LearnedConfig):
        for epoch in range(1, epochs + 1):
            model.begin_epoch(epoch)
            model.train()
            values += [learner.step(learner.sampler.draw()) for _ in range(len(learner.sampler))]
            model.end_epoch(epoch)
    model.eval()
    return [*values, {"scores": model.score()(torch.arange(40)).detach().cpu()}]


VARIANTS = [
    *((name, ()) for name in MODELS),
    ("mmssl", ("backbone.propagation=sampled", "adversarial.critic_weights=from_vectors")),
    ("mmssl", ("relations.graph=union", "relations.similarity=cosine")),
    ("mmssl", ("neighbours.item_rate=0.5",)),
]


@pytest.mark.parametrize(("name", "settings"), VARIANTS)
def test_every_step_is_the_cpu_s(name, settings, dataset, accelerator):
    config = config_of(name, *settings)
    on_cpu = losses(config, dataset, torch.device("cpu"))
    there = losses(config, dataset, accelerator)
    assert len(there) == len(on_cpu)
    assert torch.isfinite(there[-1]["scores"]).all()
    if name in NOISY:
        return
    for ours, theirs in zip(there[:-1], on_cpu[:-1], strict=True):
        assert ours == pytest.approx(theirs, rel=0.01, abs=1e-7)
    wanted = on_cpu[-1]["scores"]
    near = float(0.02 * wanted.std())
    torch.testing.assert_close(there[-1]["scores"], wanted, rtol=0, atol=near)


@pytest.mark.parametrize("variant", ["tiktok.yaml", "tiktok_official.yaml"])
def test_the_shipped_variants_train_there(variant, dataset, accelerator, tmp_path):
    config = TrainingConfig.load(
        shipped(variant), ["optimiser.epochs=3", "optimiser.batch_users=16", "relations.warm_up=1"]
    )
    result = train(config, dataset, tmp_path / "run", device=str(accelerator))
    assert 0 < result.metrics["recall@20"] <= 1


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_trains_there_and_goes_on_after_an_interruption(
    precision, dataset, accelerator, tmp_path
):
    if accelerator.type != "cuda" and precision == "fp16":
        pytest.skip("fp16 needs a CUDA device")
    # A critic's own optimiser and gradient scaling exclude each other.
    config = config_of(
        "mmssl", f"precision={precision}", "adversarial.weight=0", "optimiser.epochs=4"
    )
    whole = train(config, dataset, tmp_path / "whole", device=str(accelerator))

    with pytest.raises(KeyboardInterrupt):
        train(
            config, dataset, tmp_path / "run", device=str(accelerator), report=stop_in_epoch_two()
        )
    resumed = train(config, dataset, tmp_path / "run", device=str(accelerator))
    assert resumed.metrics["recall@20"] == pytest.approx(whole.metrics["recall@20"], abs=0.05)
    ours, theirs = (epochs(tmp_path / name) for name in ("run", "whole"))
    assert len(ours) == len(theirs) == 4
    for mine, other in zip(ours, theirs, strict=True):
        assert mine["losses"] == pytest.approx(other["losses"], rel=0.02, abs=1e-4)


def stop_in_epoch_two():
    seen = []

    def report(line):
        seen.append(line)
        if len(seen) == 2:
            raise KeyboardInterrupt

    return report


def epochs(run) -> list[dict]:
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [line for line in lines if line["event"] == "epoch"]


def test_what_the_device_drops_goes_on_where_it_stopped(dataset, accelerator, tmp_path):
    # Its own generator is part of the checkpoint: without it other numbers would be dropped.
    config = config_of("mmssl", "features.dropout=0.5", "optimiser.epochs=4")
    train(config, dataset, tmp_path / "whole", device=str(accelerator))
    with pytest.raises(KeyboardInterrupt):
        train(
            config, dataset, tmp_path / "run", device=str(accelerator), report=stop_in_epoch_two()
        )
    train(config, dataset, tmp_path / "run", device=str(accelerator))
    for mine, other in zip(epochs(tmp_path / "run"), epochs(tmp_path / "whole"), strict=True):
        assert mine["losses"] == pytest.approx(other["losses"], rel=2e-3, abs=1e-5)


@pytest.fixture(scope="module")
def run_there(dataset, accelerator, tmp_path_factory):
    out = tmp_path_factory.mktemp("there") / "run"
    train(config_of("mmssl", "optimiser.epochs=3"), dataset, out, device=str(accelerator))
    return out


def test_a_model_of_the_device_measures_and_lists_on_the_cpu_as_there(
    run_there, dataset, accelerator
):
    there, here = (
        evaluate(run_there, data=dataset.path, device=str(d)) for d in (accelerator, "cpu")
    )
    assert there.metrics == pytest.approx(here.metrics, abs=1e-9)
    assert there.popularity == here.popularity
    lists = [Recommender.load(run_there, str(d)).recommend(k=10) for d in (accelerator, "cpu")]
    assert lists[0].drop("score").equals(lists[1].drop("score"))
    np.testing.assert_allclose(lists[0]["score"], lists[1]["score"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("precision", ["highest", "high", "medium"])
def test_metrics_do_not_depend_on_a_glance_whatever_products_are_rounded_to(precision, accelerator):
    draw = np.random.default_rng(2)
    generator = torch.Generator().manual_seed(1)
    n_users, n_items = 600, 4_000
    # A few directions count: many items score about alike, and rounding decides.
    users = torch.randn(n_users, 64, generator=generator) * torch.linspace(1, 0, 64) ** 4
    items = torch.randn(n_items, 64, generator=generator)
    score = InnerProduct(users.to(accelerator), items.to(accelerator))
    exclude = csr_array(random_array((n_users, n_items), density=0.002, rng=draw))
    relevant = Interactions(np.arange(n_users).repeat(2), draw.integers(0, n_items, 2 * n_users))
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        glanced = evaluate_scores(score, relevant, exclude)
        everything = evaluate_scores(lambda rows: score(rows), relevant, exclude)
    finally:
        torch.set_float32_matmul_precision(before)
    for name, values in glanced.per_user.items():
        np.testing.assert_array_equal(values, everything.per_user[name])


def test_a_saved_model_of_the_cpu_ranks_there(dataset, accelerator, tmp_path):
    train(config_of("mmssl", "optimiser.epochs=2"), dataset, tmp_path / "run", device="cpu")
    saved, rows = SavedModel.load(tmp_path / "run"), np.arange(40)
    exclude = dataset.matrix("train")
    here = top_k(saved.score(torch.device("cpu")), rows, exclude, 10)
    there = top_k(saved.score(accelerator), rows, exclude, 10)
    np.testing.assert_array_equal(there[0], here[0])
