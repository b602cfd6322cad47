"""On a real Ray cluster of two processors, one for the whole file."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import extract
from extract.errors import TooManyErrors
from tests.local_ray import local_cluster

ray = pytest.importorskip("ray")

HERE = Path(__file__).parent
CLI = HERE.parents[2] / "cli.py"


@pytest.fixture(scope="module")
def cluster():
    with local_cluster(gpus=1) as address:
        yield address


@pytest.fixture
def run(cluster, tmp_path, monkeypatch, write_items):
    """``run(texts, **options)`` extracts texts; their ids are i0, i1, ..."""
    # A class of one's own is looked for in the working folder.
    monkeypatch.chdir(HERE)
    (tmp_path / "notes").mkdir()

    def call(texts, **options):
        rows = [[f"i{n}", text] for n, text in enumerate(texts)]
        values = {
            "items": write_items(["id", "text"], rows, "texts.csv"),
            "modality": "text",
            "out": tmp_path / "store",
            "encoder": f"ray_encoders:Letters?folder={tmp_path / 'notes'}",
            "engine": "ray",
            "device": "cpu",
            "batch_size": 4,
            "rows_per_part": 10,
        }
        return extract.run(extract.ExtractionConfig.parse(values | options))

    return call


@pytest.fixture
def encoded(tmp_path):
    """Texts that were encoded, of all processes together."""

    def read() -> Counter[str]:
        files = (tmp_path / "notes").glob("process-*")
        return Counter(line for file in files for line in file.read_text().splitlines())

    return read


def assert_alike(here: Path, there: Path) -> None:
    """Ids and statuses equal, vectors within 1e-5."""
    one, other = extract.FeatureStore.open(here), extract.FeatureStore.open(there)
    assert one.manifest.model_dump() == other.manifest.model_dump()
    assert one.statuses().equals(other.statuses())
    np.testing.assert_allclose(one.load().vectors, other.load().vectors, rtol=0, atol=1e-5)


TEXTS = [f"text {'x' * (n % 7)} {n}" for n in range(35)]


def test_texts_and_gaps_are_those_of_the_local_engine(run, tmp_path):
    texts = [*TEXTS[:12], None, "  ", "raise this", *TEXTS[15:]]
    here = run(texts, engine="local", out=tmp_path / "local")
    there = run(texts, actors=2)
    assert_alike(tmp_path / "local", tmp_path / "store")
    assert (there.ok, there.failed, there.missing, there.processed) == (32, 2, 1, 35)
    assert there.reasons == here.reasons
    names = sorted(file.name for file in (tmp_path / "store").iterdir())
    kinds = ["json", "npy", "parquet"]
    parts = [f"part-{k}.{kind}" for k in range(4) for kind in kinds]
    assert names == ["items-0.parquet", "manifest.json", *parts]


def test_actors_work_at_the_same_time_and_one_that_is_killed_is_replaced(run, tmp_path, encoded):
    # A second part is at hand for each: if one waits, the others are the other actor's.
    texts = ["wait", *TEXTS[1:24], "die once", *TEXTS[25:]]
    assert run(texts, actors=2, rows_per_part=5).ok == 35
    assert (tmp_path / "notes/mark").exists()
    assert encoded().keys() == set(texts)
    # What it had not finished was encoded again, nothing else.
    again = [n for n, text in enumerate(texts) if encoded()[text] > 1]
    assert again == [] or 20 <= min(again) <= max(again) < 25
    processes = {int(file.name.split("-")[1]) for file in (tmp_path / "notes").glob("process-*")}
    assert len(processes) >= 2
    assert os.getpid() not in processes
    run(texts, engine="local", out=tmp_path / "local", rows_per_part=5)
    assert_alike(tmp_path / "local", tmp_path / "store")


def test_pictures_and_bad_media_are_those_of_the_local_engine(run, tmp_path, write_items):
    draw, rows = np.random.default_rng(0), []
    for n in range(12):
        picture = Image.fromarray(draw.integers(0, 256, (40 + n, 60, 3), dtype=np.uint8))
        picture.save(tmp_path / f"{n}.png")
        rows.append([f"i{n}", f"{n}.png"])
    (tmp_path / "cut.png").write_bytes((tmp_path / "0.png").read_bytes()[:2000])
    (tmp_path / "page.jpg").write_text("<html></html>")
    bad = ["cut.png", "page.jpg", "absent.png", "/etc/hostname", None]
    rows += [[f"bad{n}", path] for n, path in enumerate(bad)]
    # A table named from the working folder, as people do.
    table = Path(os.path.relpath(write_items(["id", "image"], rows)))
    options = {"items": table, "modality": "image", "encoder": "ray_encoders:Colours"}
    run([], engine="local", out=tmp_path / "local", **options)
    summary = run([], out=Path(os.path.relpath(tmp_path / "store")), **options)
    assert_alike(tmp_path / "local", tmp_path / "store")
    assert (summary.ok, summary.failed, summary.missing) == (12, 4, 1)


def test_either_engine_goes_on_with_what_the_other_left(run, tmp_path, encoded):
    whole = tmp_path / "whole"
    run(TEXTS, engine="local", out=whole)
    for first, second in (("local", "ray"), ("ray", "local")):
        out = tmp_path / first
        run(TEXTS, engine=first, out=out)
        for part in (0, 2):
            (out / f"part-{part}.json").unlink()
        before = encoded()
        assert run(TEXTS, engine=second, out=out).processed == 20
        assert encoded() - before == Counter(TEXTS[:10] + TEXTS[20:30])
        assert_alike(whole, out)


def test_a_changed_part_is_made_anew_though_a_worker_dies_of_it(run, tmp_path):
    run(TEXTS, engine="local")
    texts = [*TEXTS[:14], "die once", *TEXTS[15:]]
    # What stood there before must not be taken for the part that the worker did not finish.
    assert run(texts, update=True).processed == 10
    assert (tmp_path / "notes/mark").exists()
    run(texts, engine="local", out=tmp_path / "local")
    assert_alike(tmp_path / "local", tmp_path / "store")


def test_a_part_that_kills_every_worker_is_named_and_all_others_finished(run, tmp_path):
    texts = [*TEXTS[:14], "die", *TEXTS[15:]]
    says = r"part 1 \(rows 11 to 20, items 'i10' to 'i19'\) ended its worker process 3 times"
    with pytest.raises(extract.InputError, match=says) as refusal:
        run(texts)
    assert "\n" not in str(refusal.value)
    store = extract.FeatureStore.open(tmp_path / "store")
    assert store.verify() == [1]


def test_more_failures_than_allowed_end_the_run_and_keep_finished_parts(run, tmp_path):
    texts = [" " if n in (4, 9, 14, 19) else text for n, text in enumerate(TEXTS)]
    with pytest.raises(TooManyErrors, match=r"more than 3 items failed, the last was 'i19'") as end:
        run(texts, actors=1, max_errors=3)
    assert end.value.exit_code == 3
    assert {0, 1}.isdisjoint(extract.FeatureStore.open(tmp_path / "store").verify())
    summary = run(texts, max_errors=4)
    assert (summary.ok, summary.failed) == (31, 4)


def test_a_broken_encoder_is_found_out_and_nothing_is_written(run, tmp_path):
    says = r"encoder failed: RuntimeError: I do not like it \(at .*ray_encoders.py:\d+\), the same"
    with pytest.raises(extract.InputError, match=says):
        run([f"raise {n}" for n in range(35)], rows_per_part=5)
    names = sorted(file.name for file in (tmp_path / "store").iterdir())
    assert names == ["items-0.parquet", "manifest.json"]


@pytest.mark.parametrize(
    "texts",
    [
        pytest.param([*TEXTS[:10], *["raise"] * 10], id="proven by an earlier part"),
        pytest.param([None, "raise", *[None] * 8, *["raise here"] * 10], id="in two places"),
    ],
)
def test_items_that_all_fail_are_not_a_broken_encoder(run, tmp_path, texts):
    here = run(texts, engine="local", out=tmp_path / "local", max_errors=None)
    assert run(texts, actors=2).reasons == here.reasons
    assert_alike(tmp_path / "local", tmp_path / "store")


def test_what_is_wrong_within_an_actor_is_one_line(run, tmp_path):
    says = r"not the one .*of process \d+ there, \d+ now"
    with pytest.raises(extract.InputError, match=says) as error:
        run(TEXTS, encoder="ray_encoders:Letters?version=?")
    assert "\n" not in str(error.value)
    assert error.value.exit_code == 2


def test_an_encoder_that_kills_what_loads_it_is_named(run):
    encoder = f"ray_encoders:Letters?only_in={os.getpid()}"
    says = "3 Ray actors in a row ended before they had loaded the encoder ray_encoders:Letters"
    with pytest.raises(extract.InputError, match=says):
        run(TEXTS, encoder=encoder)


def test_gpu_actors_where_the_cluster_has_gpus(run, tmp_path):
    # The cluster says that it has one.
    if torch.cuda.is_available():
        assert run(TEXTS, device="auto").ok == 35
    else:
        with pytest.raises(extract.InputError, match="--device cuda: no CUDA GPU here"):
            run(TEXTS, device="auto")


def test_the_command_joins_a_cluster(run, cluster, tmp_path):
    run(TEXTS, engine="local", out=tmp_path / "local")
    arguments = ["--items", tmp_path / "texts.csv", "--out", tmp_path / "store"]
    arguments += ["--encoder", f"ray_encoders:Letters?folder={tmp_path / 'notes'}"]
    arguments += ["--rows-per-part", "10", "--batch-size", "4", "--device", "cpu"]
    arguments += ["--engine", "ray", "--ray-address", cluster]
    command = [sys.executable, CLI, "extract", "--modality", "text", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert_alike(tmp_path / "local", tmp_path / "store")


def test_an_encoder_object_is_refused(run):
    sys.path.insert(0, str(HERE))
    try:
        from ray_encoders import Letters
    finally:
        sys.path.remove(str(HERE))
    config = extract.ExtractionConfig(
        items=Path("none.csv"), modality="text", out=Path("none"), engine="ray"
    )
    with pytest.raises(extract.InputError, match="name the encoder by its URI, or its class"):
        extract.run(config, encoder=Letters())


def test_without_ray_the_extra_is_named(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(extract.InputError, match=r"pip install 'mmssl-toolkit\[ray\]'"):
        run(TEXTS)
