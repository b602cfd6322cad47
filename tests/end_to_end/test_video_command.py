"""Micro-videos on the command line: frames and sound track to recommendations.

The clips are synthetic: shapes of one colour that move over a dark ground, with a tone; made with
PyAV in the test.
"""

import json

import numpy as np
import polars as pl
import pytest

import cli
import extract

KINDS = {"red": ((200, 30, 30), 220), "green": ((30, 200, 30), 440), "blue": ((30, 30, 200), 880)}


@pytest.fixture
def run(capsys):
    def call(*arguments: object, code=0) -> str:
        with pytest.raises(SystemExit) as end:
            cli.run(cli.app, [str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert end.value.code == code, err
        return out if code == 0 else out + err

    return call


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory, make_clip):
    """24 clips of three kinds and a table of them; the kind of each item."""
    folder = tmp_path_factory.mktemp("videos")
    draw = np.random.default_rng(0)
    kind_of, rows = {}, []
    for index in range(24):
        kind = list(KINDS)[index % 3]
        colour, hertz = KINDS[kind]
        side, step = draw.integers(8, 20), draw.integers(1, 4)
        frames = []
        for n in range(15):
            frame = np.full((32, 48, 3), 20, np.uint8)
            frame[4 : 4 + side, (step * n) % 28 : (step * n) % 28 + side] = colour
            frames.append(frame)
        time = np.arange(24000) / 16000
        tone = 9000 * np.sin(2 * np.pi * hertz * time) + draw.normal(0, 200, len(time))
        make_clip(
            folder / f"{index}.mp4",
            frames,
            codec="libx264",
            pix_fmt="yuv420p",
            sound=tone.astype(np.int16),
            sound_codec="aac",
        )
        rows.append({"item_id": f"clip/{index}", "video": f"{index}.mp4"})
        kind_of[f"clip/{index}"] = kind
    cut = (folder / "0.mp4").read_bytes()
    (folder / "cut.mp4").write_bytes(cut[: len(cut) // 2])
    rows.append({"item_id": "cut", "video": "cut.mp4"})
    kind_of["cut"] = "red"
    pl.DataFrame(rows).write_csv(folder / "items.csv")
    return folder, kind_of


def test_frames_and_sounds_of_micro_videos_become_recommendations(catalogue, tmp_path, run):
    folder, kind_of = catalogue
    items = folder / "items.csv"
    told = run(
        *("extract", "--modality=video", "--items", items, "--out", tmp_path / "video"),
        *("--encoder=examples.custom_encoder:ColourHistogram", "--frames=4"),
    )
    assert "video: 25 items through examples.custom_encoder:ColourHistogram" in told
    assert "ok 24, failed 1, missing 0" in told
    assert "failed 1: damaged video, or cut short (" in told
    told = run(
        *("extract", "--modality=audio", "--items", items, "--out", tmp_path / "audio"),
        "--encoder=melstats:64",
    )
    assert "ok 24, failed 1, missing 0" in told

    draw = np.random.default_rng(1)
    lines = ["user,item"]
    for user in range(36):
        liked = [item for item, kind in kind_of.items() if kind == list(KINDS)[user % 3]]
        lines += [f"user {user},{item}" for item in draw.choice(liked, 5, replace=False)]
    (tmp_path / "interactions.csv").write_text("\n".join(lines) + "\n")
    told = run(
        *("prepare", "--interactions", tmp_path / "interactions.csv", "--out", tmp_path / "data"),
        *("--features", f"video={tmp_path / 'video'}", "--features", f"audio={tmp_path / 'audio'}"),
    )
    assert "video: 64 dimensions" in told
    run(
        *("train", "--data", tmp_path / "data", "--out", tmp_path / "run"),
        *("optimiser.epochs=6", "optimiser.batch_users=16", "backbone.embedding_dim=16"),
    )
    run("evaluate", "--model", tmp_path / "run", "--json", tmp_path / "val.json")
    measured = json.loads((tmp_path / "val.json").read_text())
    assert measured["metrics"]["recall@10"] > measured["popularity"]["recall@10"]
    run("recommend", "--model", tmp_path / "run", "--top-k=3", "--out", tmp_path / "recs.csv")
    lists = pl.read_csv(tmp_path / "recs.csv", infer_schema=False)
    right = [
        kind_of[row["item_id"]] == list(KINDS)[int(row["user_id"].split()[1]) % 3]
        for row in lists.iter_rows(named=True)
    ]
    assert np.mean(right) > 0.9


def test_several_modalities_of_one_folder(catalogue, tmp_path, run):
    folder, _ = catalogue
    told = run(
        *("extract", "--modality=video,audio", "--items", folder, "--out", tmp_path / "out"),
        "--print-config",
    )
    assert "modality: video" in told
    assert "encoder: packaged:efficientnet-lite0" in told
    assert "encoder: packaged:whisper-tiny-en" in told
    assert "frames: 8\nframe_sampling: uniform\n" in told
    assert "frames: null\nframe_sampling: null\n" in told


def test_the_packaged_encoder_takes_the_frames(catalogue, tmp_path, run):
    folder, _ = catalogue
    table = tmp_path / "two.csv"
    table.write_text("item_id,video\na,1.mp4\nb,2.mp4\n")
    told = run(
        *("extract", "--modality=video", "--items", table, "--media-root", folder),
        *("--out", tmp_path / "store", "--frames=2", "--frame-sampling=scene"),
        code=2,
    )
    # A relative path belongs to the table's folder, where there is no such video.
    assert "ok 0, failed 2" in told
    table.write_text(f"item_id,video\na,{folder / '1.mp4'}\nb,{folder / '2.mp4'}\n")
    run(
        *("extract", "--modality=video", "--items", table, "--media-root", folder, "--overwrite"),
        *("--out", tmp_path / "store", "--frames=2"),
    )
    vectors = extract.FeatureStore.open(tmp_path / "store").load().vectors
    assert vectors.shape == (2, 1280)
    assert np.isfinite(vectors).all()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--modality=image", "--frames=4"], "--frames acts on video, not on image"),
        (["--modality=audio", "--frame-sampling=scene"], "--frame-sampling acts on video, not on"),
        (["--modality=video", "--frames=0"], "frames 0: Input should be greater than or equal"),
        (["--modality=video", "--encoder=packaged:minilm"], "it encodes text, not video, nor"),
        (["--modality=vidoe"], "unknown modality 'vidoe' (did you mean 'video'?)"),
    ],
)
def test_what_is_wrong_is_one_line_and_exit_code_two(arguments, says, catalogue, tmp_path, run):
    folder, _ = catalogue
    err = run("extract", *arguments, "--items", folder, "--out", tmp_path / "out", code=2)
    assert says in err
    assert err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_video_among_pictures_is_pointed_to_its_modality(catalogue, tmp_path, run):
    folder, _ = catalogue
    told = run(
        *("extract", "--modality=image", "--items", folder / "items.csv", "--column=video"),
        *("--out", tmp_path / "out", "--encoder=examples.custom_encoder:ColourHistogram"),
        code=2,
    )
    assert "failed 25: a video (MP4 or QuickTime), not a picture; use --modality video" in told
