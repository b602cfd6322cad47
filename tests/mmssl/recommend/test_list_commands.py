"""recommend with parts, new items and new users; similar; explain: as a person types them."""

import json
import re
import wave
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch

import cli
import extract
from extract.encoders.registry import load_encoder
from mmssl.recommend.explain import Explainer
from mmssl.recommend.fold_in import FoldIn
from mmssl.recommend.model_files import ItemFeatures
from mmssl.recommend.model_folder import SavedModel
from mmssl.recommend.recommender import Recommender
from mmssl.recommend.similar import SimilarItems


@pytest.fixture
def model(make_model) -> SavedModel:
    """Twelve users and ten items; their sounds are of mel statistics, one id has a comma."""
    made = make_model(21, graph=True)
    encoder = load_encoder("melstats:64", "audio", device=torch.device("cpu"), dtype=torch.float32)
    there = made.features["audio"].present
    vectors = np.random.default_rng(0).normal(size=(10, encoder.dim)).astype(np.float32)
    encoders = {"image": "packaged:efficientnet-lite0", "audio": "melstats:64"}
    return replace(
        made,
        info=made.info.model_copy(update={"encoders": encoders}),
        item_ids=[*made.item_ids[:7], "a,b", *made.item_ids[8:]],
        features={**made.features, "audio": ItemFeatures(vectors * there[:, None], there)},
    )


@pytest.fixture
def run(model, tmp_path):
    """The folder of a finished run in the project ``tmp_path``."""
    folder = tmp_path / "runs" / "first"
    model.save(folder / "model")
    (folder / "metrics.json").write_text("{}")
    return folder


@pytest.fixture
def sounds(tmp_path):
    """A folder with the sounds of two new items."""
    folder = tmp_path / "sounds"
    folder.mkdir()
    for item, hertz in (("new1", 300), ("new2", 900)):
        samples = np.sin(2 * np.pi * hertz * np.arange(8000) / 16000) * 20000
        with wave.open(str(folder / f"{item}.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(16000)
            file.writeframes(samples.astype("<i2").tobytes())
    return folder


def run_cli(capsys, *arguments) -> tuple[int, list[str], str]:
    """Exit code, lines of standard output, and standard error."""
    with pytest.raises(SystemExit) as stop:
        cli.run(cli.app, [str(argument) for argument in arguments])
    printed = capsys.readouterr()
    return int(stop.value.code or 0), printed.out.splitlines(), printed.err


def listed(capsys, run, out, *options) -> tuple[pl.DataFrame, list[str]]:
    """The table that ``recommend`` writes, and the lines that it prints."""
    code, lines, _ = run_cli(
        capsys, "recommend", "--model", run, "--out", out, "--device", "cpu", *options
    )
    assert code == 0
    assert lines[0] == f"model: {run}"
    return pl.read_parquet(out), lines[1:]


def refused(capsys, *arguments) -> str:
    code, out, err = run_cli(capsys, *arguments)
    assert (code, out) == (2, [])
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    return err.removeprefix("error: ").rstrip()


def test_parts_rank_alone(model, run, capsys, tmp_path):
    out = tmp_path / "recs.parquet"
    frame, _ = listed(capsys, run, out, "--part", "image", "--part", "item graph", "--top-k", 4)
    wanted = Recommender(model, "cpu").recommend(k=4, parts=["item graph", "image"])
    assert frame.equals(wanted)
    assert not frame.equals(Recommender(model, "cpu").recommend(k=4))
    message = refused(capsys, "recommend", "--model", run, "--out", out, "--part", "video")
    assert message == (
        "this model has no part 'video'; its parts are: collaborative, image, audio, item graph"
    )


def test_new_users_are_listed_by_their_histories(model, run, capsys, tmp_path):
    table, out = tmp_path / "new.csv", tmp_path / "recs.parquet"
    table.write_text('user_id,item_id\nanna,i1\nbert,i2\nanna,"a,b"\n')
    frame, lines = listed(capsys, run, out, "--new-users", table, "--top-k", 3)
    grown = FoldIn(model).with_users({"anna": ["i1", "a,b"], "bert": ["i2"]})
    assert frame.equals(Recommender(grown, "cpu").recommend(["anna", "bert"], 3))
    assert lines == [
        f"new users: 2, by their histories in {table}",
        f"{out}: recommendations 6, users 2",
    ]
    frame, _ = listed(capsys, run, out, "--new-users", table, "--users", "u1,anna")
    assert frame["user_id"].unique(maintain_order=True).to_list() == ["u1", "anna"]


def test_histories_with_items_that_nobody_knows_stop_or_are_shortened(run, capsys, tmp_path):
    table, out = tmp_path / "new.csv", tmp_path / "recs.parquet"
    table.write_text("user_id,item_id\nanna,i1\nanna,x\nanna,y\nbert,x\n")
    command = ["recommend", "--model", run, "--out", out, "--new-users", table]
    assert refused(capsys, *command) == (
        "2 unknown item ids: 'x', 'y'; --skip-unknown leaves such out"
    )
    frame, lines = listed(capsys, run, out, "--new-users", table, "--skip-unknown", "--top-k", 2)
    assert lines[:2] == [
        f"new users: 2, by their histories in {table}",
        "unknown items in these histories skipped: 2",
    ]
    assert frame["source"].to_list() == ["model"] * 2 + ["popularity"] * 2
    table.write_text("user_id,item_id\nu1,i1\n")
    assert refused(capsys, *command) == "user 'u1' is known to the model: name new users alone"


def test_new_items_are_encoded_and_stand_among_the_others(run, sounds, capsys, tmp_path):
    out = tmp_path / "recs.parquet"
    options = ["--new-items", sounds, "--top-k", 20]
    frame, lines = listed(capsys, run, out, *options)
    assert "new items: 2, placed by their media" in lines
    assert {"new1", "new2", "i3", "a,b"} <= set(frame["item_id"])
    only, _ = listed(capsys, run, out, *options, "--only-new", "--users", "u0,u3")
    assert sorted(only.rows_by_key("user_id")) == ["u0", "u3"]
    assert set(only["item_id"]) == {"new1", "new2"}
    known = frame.filter(~pl.col("item_id").is_in(["new1", "new2"]))
    before, _ = listed(capsys, run, out, "--top-k", 20)
    assert known["user_id", "item_id"].equals(before["user_id", "item_id"])
    np.testing.assert_allclose(known["score"], before["score"], atol=1e-5)

    made = tmp_path / "store"
    config = {"items": str(sounds), "modality": "audio", "out": str(made), "device": "cpu"}
    extract.run(extract.ExtractionConfig.parse({**config, "encoder": "melstats:64"}))
    stored, _ = listed(capsys, run, out, "--new-features", f"audio={made}", "--top-k", 20)
    assert stored.equals(frame)


def test_new_items_keep_a_cap_of_the_item_table(run, sounds, capsys, tmp_path):
    table, out = tmp_path / "items.csv", tmp_path / "recs.parquet"
    rows = [f"{item},old" for item in ("i0", "i1", "i2", "i3", "i4", "i5", "i6", "i8", "i9")]
    table.write_text("sku,kind\n" + "\n".join([*rows, "new1,fresh", "new2,fresh"]) + "\n")
    options = ["--cap", "kind=1", "--items", table, "--id-column", "sku", "--include-seen"]
    frame, lines = listed(capsys, run, out, "--new-items", sounds, *options, "--top-k", 20)
    assert "cap kind=1: values 2; items without a value, not capped: 1" in lines
    for _, ids in frame.group_by("user_id"):
        kinds = ["new" if item.startswith("new") else item for item in ids["item_id"]]
        assert kinds.count("new") == 1
        assert len(ids) == 3
        assert "a,b" in kinds


def test_an_id_with_a_comma_is_named_in_a_file(run, capsys, tmp_path):
    out = tmp_path / "recs.parquet"
    (tmp_path / "only.txt").write_text("a,b\n")
    frame, _ = listed(
        capsys, run, out, "--only-items", tmp_path / "only.txt", "--include-seen", "--users", "u1"
    )
    assert frame["item_id"].to_list() == ["a,b"]
    command = ["recommend", "--model", run, "--out", out, "--only-items", "a,b"]
    assert refused(capsys, *command) == (
        "2 unknown item ids: 'a', 'b'; --skip-unknown leaves such out"
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--items", "x.csv"], "--items x.csv does not apply: it is about --cap"),
        (["--id-column", "a"], "--id-column a does not apply: it is about --cap and --new-items"),
        (["--only-new"], "--only-new does not apply: it is about --new-items and --new-features"),
        (["--encoder", "a=b"], "--encoder a=b does not apply: it is about --new-items"),
        (["--media-root", "m"], "--media-root m does not apply: it is about --new-items"),
        (["--column", "a=b"], "--column a=b does not apply: it is about --new-items"),
        (["--text-template", "{a}"], "--text-template {a} does not apply: it is about --new-items"),
        (
            ["--new-features", "audio=x", "--encoder", "audio=melstats"],
            "--encoder audio=melstats does not apply: it is about --new-items",
        ),
        (
            ["--new-items", "a", "--new-features", "audio=b"],
            "give --new-items or --new-features, not both",
        ),
        (
            ["--new-items", "a", "--only-new", "--only-items", "i1"],
            "give --only-new or --only-items, not both",
        ),
        (["--new-features", "audio"], "--new-features audio: not of the form NAME=PATH"),
        (["--new-items", "gone.csv"], "gone.csv: no such file or folder"),
        (["--new-users", "gone.csv"], "gone.csv: no such file"),
        (
            ["--new-users", "recs.parquet"],
            "--out recs.parquet: the file of --new-users would be overwritten",
        ),
        (
            ["--new-items", "recs.parquet"],
            "--out recs.parquet: the file of --new-items would be overwritten",
        ),
        (
            ["--new-items", "sounds", "--encoder", "text=x:y"],
            "--encoder text=x:y: the model has no",
        ),
        (["--new-items", "sounds", "--project", "p"], "--project p: nothing is left for it"),
    ],
)
def test_options_that_do_nothing_or_cannot_be_met_are_refused(
    run, sounds, capsys, tmp_path, monkeypatch, options, message
):
    monkeypatch.chdir(tmp_path)
    out = ["--out", "recs.parquet"]
    assert refused(capsys, "recommend", "--model", run, *out, *options).startswith(message)
    assert not (tmp_path / "recs.parquet").exists()


def test_items_that_the_model_knows_are_told(run, sounds, capsys, tmp_path):
    (sounds / "new2.wav").rename(sounds / "i3.wav")
    _, lines = listed(capsys, run, tmp_path / "r.parquet", "--new-items", sounds, "--only-new")
    assert "new items: 1, placed by their media" in lines
    assert "items that the model knows already, left as they are: 1 ('i3')" in lines


def test_new_items_that_no_medium_was_read_of_are_left_out_and_told(run, sounds, capsys, tmp_path):
    (sounds / "new2.wav").write_bytes(b"no sound")
    command = ["recommend", "--model", run, "--out", tmp_path / "r.csv", "--new-items", sounds]
    code, out, _ = run_cli(capsys, *command, "--device", "cpu")
    assert code == 0
    told = "new items left out, for no medium of theirs could be read: 1 ('new2')"
    assert told in "\n".join(out)
    for sound in sounds.iterdir():
        sound.write_bytes(b"no sound")
    _, _, err = run_cli(capsys, *command, "--device", "cpu")
    assert "error: new items: not one medium of any of them could be read" in err


def test_a_model_without_media_places_nothing(model, capsys, sounds, tmp_path):
    replace(model, features={}).save(tmp_path / "bare")
    for option, value in (("--new-items", sounds), ("--new-features", "audio=x")):
        command = ["recommend", "--model", tmp_path / "bare", "--out", tmp_path / "r.csv"]
        assert "model mmssl keeps no media" in refused(capsys, *command, option, value)


def test_similar_lists_every_space_that_knows_the_item(model, run, capsys, tmp_path):
    code, out, err = run_cli(capsys, "similar", "--project", tmp_path, "--item", "a,b")
    assert (code, err) == (0, "")
    assert out[0] == f"model: {run}"
    heads = [f"most like 'a,b' in the space {space}:" for space in ("model", "image", "audio")]
    assert [line for line in out[1:] if line.startswith("most like")] == heads
    first = SimilarItems(model).of_item("a,b", 1, "model").row(0, named=True)
    assert out[2].split() == ["1", f"{first['similarity']:+.4f}", first["item_id"]]
    # An item without sound is compared in the others.
    _, out, _ = run_cli(capsys, "similar", "--model", run, "--item", "i0")
    assert sum(line.startswith("most like") for line in out) == 2


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_similar_writes_a_table(model, run, capsys, tmp_path, suffix):
    path = tmp_path / f"similar{suffix}"
    command = ["similar", "--model", run, "--item", "i3", "--top-k", 2, "--out", path]
    code, out, _ = run_cli(capsys, *command, "--space", "audio")
    assert (code, len(out)) == (0, 4)
    frame = pl.read_parquet(path) if suffix == ".parquet" else pl.read_csv(path)
    assert frame.columns == ["space", "item_id", "similarity", "rank"]
    wanted = SimilarItems(model).of_item("i3", 2, "audio")
    assert frame["item_id"].to_list() == wanted["item_id"].to_list()
    assert frame["space"].to_list() == ["audio"] * 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--item", "nothing"], "1 unknown item id: 'nothing'"),
        (["--item", "a,,b"], "1 unknown item id: 'a,,b' (did you mean 'a,b'?)"),
        (["--item", "i3", "--space", "text"], "no space 'text' here; this model has: model, image"),
        (["--item", "i0", "--space", "audio"], "item 'i0' has no audio: nothing is like it there"),
        (["--item", "i3", "--top-k", "0"], "k is the number of similar items and must be at least"),
        (["--item", "i3", "--out", "a.xlsx"], "a.xlsx: unknown kind of table"),
        (
            ["--item", "i3", "--out", "runs/first/metrics.json/a.csv"],
            "runs/first/metrics.json/a.cs",
        ),
    ],
)
def test_similar_refuses_in_one_line(run, capsys, tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    assert refused(capsys, "similar", "--model", run, *options).startswith(message)


def test_explain_says_what_a_score_is_made_of(model, run, capsys, tmp_path):
    path = tmp_path / "new" / "why.json"
    command = ["explain", "--model", run, "--user", "u1", "--item", "a,b", "--nearest", 2]
    code, out, err = run_cli(capsys, *command, "--json", path)
    assert (code, err) == (0, "")
    wanted = Explainer(model).explain("u1", "a,b", 2)
    assert out == [f"model: {run}", *wanted.lines()]
    assert re.fullmatch(r"user 'u1', item 'a,b': score -?\d+\.\d{4}", out[1])
    written = json.loads(path.read_text())
    assert written["shares"] == wanted.shares
    assert sum(written["shares"].values()) == pytest.approx(written["score"], abs=1e-5)
    assert written["nearest"]["image"] == [list(pair) for pair in wanted.nearest["image"]]
    assert len(written["nearest"]["image"]) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--user", "u11", "--item", "i1"], "user 'u11' has no training interaction"),
        (["--user", "nobody", "--item", "i1"], "1 unknown user id: 'nobody'"),
        (["--user", "u111", "--item", "i1"], "1 unknown user id: 'u111' (did you mean 'u11'?)"),
        (["--user", "u1", "--item", "nothing"], "1 unknown item id: 'nothing'"),
        (["--user", "u1", "--item", "i1", "--nearest", "-1"], "--nearest -1: how many items to"),
        (["--user", "u1", "--item", "i1", "--json", "runs"], "runs: "),
    ],
)
def test_explain_refuses_in_one_line(run, capsys, tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    assert refused(capsys, "explain", "--model", run, *options).startswith(message)
