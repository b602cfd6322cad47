"""`cli.py extract` on bad media, odd ids and wrong options, as a person would run it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml
from PIL import Image

import cli
import extract

ROOT = Path(__file__).parents[2]

ENCODERS = '''
import signal
import numpy as np
import torch
from extract import Encoder

class Letters(Encoder):
    """How often each byte occurs."""
    modalities = ("text",)
    dim = 256
    space = "letters"
    def preprocess(self, raw):
        return torch.bincount(torch.tensor(list(raw.encode())), minlength=256).float()
    def encode(self, batch):
        return torch.stack(batch)
    def fingerprint(self):
        return {}

class Colour(Encoder):
    """The mean of each channel; of a text, its length three times."""
    modalities = ("image", "text")
    dim = 3
    space = "colour"
    def preprocess(self, raw):
        if isinstance(raw, str):
            return torch.full((3,), float(len(raw)))
        return torch.from_numpy(np.asarray(raw, dtype=np.float32).mean(axis=(0, 1)))
    def encode(self, batch):
        return torch.stack(batch)
    def fingerprint(self):
        return {}

class Sized(Letters):
    """dim as text from the URI, whatever it says."""
    def __init__(self, dim):
        self.dim = int(dim)

class Motionless(Letters):
    """Cannot be moved."""
    def to(self, device, dtype):
        raise RuntimeError("bolted down")

class Interrupted(Letters):
    """Ctrl-C at the text with this number."""
    def __init__(self, at):
        self.at = int(at)
    def encode(self, batch):
        if any(vector[ord("x")] == self.at for vector in batch):
            signal.raise_signal(signal.SIGINT)
        return super().encode(batch)

class Broken(Letters):
    """Raises on everything."""
    def encode(self, batch):
        return self.model(batch)
'''


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "own_encoders.py").write_text(ENCODERS)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.modules.pop("own_encoders", None)


@pytest.fixture
def extracting(folder, capsys):
    """Runs ``extract`` and gives exit code, standard output and standard error."""

    def run(*arguments) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            cli.run(cli.app, ["extract", *map(str, arguments)])
        printed = capsys.readouterr()
        return int(stop.value.code or 0), printed.out, printed.err

    return run


def write_table(path: Path, rows: list[dict]) -> Path:
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return path


def tone(hertz: float) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(16000) / 16000)


def test_bad_pictures_are_recorded_and_nothing_else_is_lost(folder, extracting):
    for n, colour in enumerate([(10, 20, 30), (40, 50, 60), (70, 80, 90)]):
        Image.new("RGB", (8, 8), colour).save(folder / f"{n}.png")
    (folder / "html.jpg").write_text("<html>404</html>")
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "half.png")
    whole = (folder / "half.png").read_bytes()
    (folder / "half.png").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.png").touch()
    names = ["0.png", "html.jpg", "1.png", "half.png", "empty.png", "lost.png", None, "2.png"]
    rows = [{"item_id": f"i{n}", "image": name} for n, name in enumerate(names)]
    items = write_table(folder / "items.jsonl", rows)
    code, out, err = extracting(
        "--modality", "image", "--items", items, "--out", "f", "--encoder", "own_encoders:Colour"
    )
    assert (code, err) == (0, "")
    assert "ok 3, failed 4, missing 1" in out
    assert "failed 1: an HTML page, not a picture (i1)" in out
    store = extract.FeatureStore.open("f")
    statuses = store.statuses()
    expected = ["ok", "failed", "ok", "failed", "failed", "failed", "missing", "ok"]
    assert statuses["status"].to_list() == expected
    reasons = statuses["reason"].to_list()
    assert reasons[3].startswith("damaged picture")
    assert reasons[4:6] == ["empty file", "file not found"]
    loaded = store.load()
    assert loaded.vectors[loaded.present].tolist() == [[10, 20, 30], [40, 50, 60], [70, 80, 90]]


def test_bad_sounds_are_recorded_and_nothing_else_is_lost(folder, extracting):
    soundfile.write(folder / "low.wav", tone(200), 16000)
    soundfile.write(folder / "high.flac", tone(2000), 16000)
    soundfile.write(folder / "silent.wav", np.zeros(16000), 16000)
    soundfile.write(folder / "nothing.wav", np.zeros(0), 16000)
    samples = tone(300)
    samples[7] = np.nan
    soundfile.write(folder / "nan.wav", samples, 16000, subtype="FLOAT")
    (folder / "zero.wav").touch()
    names = ["low.wav", "silent.wav", "nothing.wav", "nan.wav", "zero.wav", None, "high.flac"]
    rows = [{"item_id": f"i{n}", "audio": name} for n, name in enumerate(names)]
    items = write_table(folder / "items.jsonl", rows)
    code, out, _ = extracting(
        "--modality", "audio", "--items", items, "--out", "f", "--encoder", "melstats:64"
    )
    assert code == 0
    assert "ok 2, failed 4, missing 1" in out
    store = extract.FeatureStore.open("f")
    assert store.statuses()["reason"].to_list() == [
        None,
        "silent",
        "empty sound",
        "sound with NaN or infinite samples",
        "empty file",
        "no value in the table",
        None,
    ]
    loaded = store.load()
    # The loudest of the 64 mean bands of a high tone lies above that of a low one.
    assert loaded.vectors[6, :64].argmax() > loaded.vectors[0, :64].argmax()


def test_odd_ids_and_empty_texts_keep_their_own_rows(folder, extracting):
    texts = {
        "a.b.c": "x",
        "../../etc/passwd": "xx",
        "a/b": "xxx",
        "猫 и قطة": "xxxx",
        "white space ": "",
        "007": "xxxxx",
        "7": "   ",
        "CON": "xxxxxx",
    }
    rows = [{"item_id": name, "text": text} for name, text in texts.items()]
    items = write_table(folder / "items.jsonl", rows)
    arguments = ("--modality", "text", "--items", items, "--out", "deep/er/f")
    code, out, _ = extracting(*arguments, "--encoder", "own_encoders:Letters")
    assert code == 0
    assert "failed 2: empty text (white space , 7)" in out
    loaded = extract.FeatureStore.open("deep/er/f").load()
    assert loaded.ids == list(texts)
    for row, text in enumerate(texts.values()):
        if text.strip():
            assert loaded.vectors[row, ord("x")] == len(text) == loaded.vectors[row].sum()
        else:
            assert not loaded.present[row]
    names = {path.name for path in folder.rglob("*") if "__pycache__" not in path.parts}
    assert not names & {"passwd", "CON", "007", "a.b.c"}


def test_duplicate_ids_end_with_one_line_that_names_both_rows(folder, extracting):
    (folder / "items.csv").write_text("item_id,text\na.b,one\nc,two\na.b,three\n")
    code, out, err = extracting("--modality", "text", "--items", "items.csv", "--out", "f")
    assert (code, out) == (2, "")
    assert err == (
        "error: items.csv: item id 'a.b' stands in rows 1 and 3 (header not counted);"
        " item ids must be unique\n"
    )
    assert not (folder / "f").exists()


def test_a_path_that_leaves_the_media_roots_is_refused_until_its_root_is_named(folder, extracting):
    (folder / "shop").mkdir()
    (folder / "photos").mkdir()
    Image.new("RGB", (2, 2), (1, 2, 3)).save(folder / "shop/a.png")
    Image.new("RGB", (2, 2), (4, 5, 6)).save(folder / "photos/b.png")
    (folder / "shop/link.png").symlink_to(folder / "photos/b.png")
    paths = ["a.png", "../photos/b.png", str(folder / "photos/b.png"), "link.png"]
    rows = [{"id": f"i{n}", "image": path} for n, path in enumerate(paths)]
    items = write_table(folder / "shop/items.jsonl", rows)
    arguments = ("--modality", "image", "--items", items, "--out", "f")
    arguments += ("--encoder", "own_encoders:Colour")
    code, out, _ = extracting(*arguments)
    assert code == 0
    assert "failed 3: outside the media roots (i1, i2, i3)" in out
    code, out, _ = extracting(*arguments, "--overwrite", "--media-root", "photos")
    assert "ok 4, failed 0, missing 0" in out
    assert extract.FeatureStore.open("f").load().vectors.tolist() == [[1, 2, 3]] + [[4, 5, 6]] * 3


def test_a_run_without_any_vector_ends_with_code_2_and_update_mends_it(folder, extracting):
    (folder / "photos").mkdir()
    Image.new("RGB", (2, 2), (4, 5, 6)).save(folder / "photos/b.png")
    (folder / "shop").mkdir()
    rows = [{"id": "b", "image": str(folder / "photos/b.png")}]
    items = write_table(folder / "shop/items.jsonl", rows)
    arguments = ("--modality", "image", "--items", items, "--out", "f")
    arguments += ("--encoder", "own_encoders:Colour")
    code, out, err = extracting(*arguments)
    assert (code, "failed 1: outside the media roots (b)" in out) == (2, True)
    assert err.startswith(f"error: {items}: not one item has features of image")
    code, out, _ = extracting(*arguments, "--media-root", "photos")
    assert (code, "--update tries the failed again" in out) == (2, True)
    code, out, _ = extracting(*arguments, "--media-root", "photos", "--update")
    assert (code, "ok 1, failed 0, missing 0" in out) == (0, True)


def test_subfolders_of_a_folder_are_told(folder, extracting):
    (folder / "photos/birds").mkdir(parents=True)
    Image.new("RGB", (2, 2)).save(folder / "photos/birds/a.png")
    arguments = ("--modality", "image", "--items", "photos", "--out", "f")
    arguments += ("--encoder", "own_encoders:Colour")
    code, _, err = extracting(*arguments)
    assert (code, "subfolders are not looked into" in err) == (2, True)
    Image.new("RGB", (2, 2)).save(folder / "photos/b.png")
    code, out, _ = extracting(*arguments)
    assert (code, "not read: what lies in subfolders (1) of the folder" in out) == (0, True)
    assert "other kinds" not in out


def test_what_is_not_taken_of_a_folder_is_told_once(folder, extracting):
    (folder / "photos/birds").mkdir(parents=True)
    (folder / "photos/folder.png").mkdir()
    Image.new("RGB", (2, 2)).save(folder / "photos/b.PNG", format="PNG")
    for name in ("c.svg", "d.SVG", "notes.txt", "LICENSE", ".DS_Store"):
        (folder / "photos" / name).touch()
    (folder / "photos/lost.png").symlink_to("/no/such/place.png")
    arguments = ("--modality", "image", "--items", "photos", "--out", "f")
    code, out, _ = extracting(*arguments, "--encoder", "own_encoders:Colour")
    assert code == 0
    assert out.splitlines()[2:-1] == [
        "ok 1, failed 2, missing 0",
        "  failed 1: not a regular file (folder)",
        "  failed 1: file not found (a symbolic link that leads nowhere) (lost)",
        "once that is mended, the command with --update tries the failed again",
        "not read: files of other kinds (4: .svg 2, no ending 1, .txt 1)",
        "not read: what lies in subfolders (1) of the folder",
    ]


@pytest.mark.parametrize(
    ("at", "says"),
    [
        (2, "no part of 2 items was finished yet, so nothing is kept; with a smaller"),
        (5, "{} of 3 parts are finished and kept in f; the same command goes on after them\n"),
    ],
)
def test_an_interruption_says_what_is_kept(folder, extracting, at, says):
    rows = [{"id": str(n), "text": "x" * n} for n in range(1, 7)]
    items = write_table(folder / "items.jsonl", rows)
    arguments = ("--modality", "text", "--items", items, "--out", "f", "--rows-per-part", 2)
    code, out, err = extracting(*arguments, "--encoder", f"own_encoders:Interrupted?at={at}")
    assert (code, out) == (130, "")
    # The second may just be being written, and is then lost.
    finished = len(list((folder / "f").glob("part-*.json")))
    assert finished in ((1, 2) if at == 5 else (0,))
    assert err.startswith(f"error: interrupted: {says.format(finished)}")
    assert err.count("\n") == 1


def test_max_errors_ends_with_code_3_and_a_run_goes_on_from_there(folder, extracting):
    texts = ["one", "two", " ", " ", "five", " "]
    rows = [{"id": str(n), "text": text} for n, text in enumerate(texts)]
    items = write_table(folder / "items.jsonl", rows)
    arguments = ("--modality", "text", "--items", items, "--out", "f", "--rows-per-part", 2)
    arguments += ("--encoder", "own_encoders:Letters", "--max-errors")
    code, _, err = extracting(*arguments, 1)
    assert code == 3
    assert err.startswith("error: more than 1 items failed, the last was '3': empty text")
    assert err.count("\n") == 1
    code, out, _ = extracting(*arguments, 3)
    assert code == 0
    assert "4 items in" in out
    assert "2 stood in the store already" in out
    assert extracting(*arguments, 3)[1].count("already complete") == 1


def test_several_modalities_of_one_encoder_write_a_store_each(folder, extracting):
    Image.new("RGB", (2, 2), (9, 8, 7)).save(folder / "a.png")
    (folder / "items.csv").write_text("id,photo,title,price\ncat,a.png,Kitten,5\n")
    code, out, _ = extracting(
        *("--modality", "image,text", "--items", "items.csv", "--out", "f"),
        *("--encoder", "own_encoders:Colour", "--column", "image=photo"),
        *("--text-template", "{title}: {price}"),
    )
    assert code == 0
    assert "image: 1 items through own_encoders:Colour (column 'photo')" in out
    assert "(template '{title}: {price}')" in out
    assert extract.FeatureStore.open("f/image").load().vectors.tolist() == [[9, 8, 7]]
    assert extract.FeatureStore.open("f/text").load().vectors.tolist() == [[9, 9, 9]]


def test_what_is_wrong_with_the_second_modality_stops_before_the_first(folder, extracting):
    (folder / "items.csv").write_text("id,image,title\na,a.png,Cat\n")
    Image.new("RGB", (2, 2)).save(folder / "a.png")
    options = ("--modality", "text,image", "--items", "items.csv", "--out", "f")
    options += ("--encoder", "own_encoders:Colour")
    for wrong, says in (
        (("--column", "image=photo"), "no column 'photo'"),
        (("--encoder", "own_encoders:Letters"), "not image"),
    ):
        code, out, err = extracting(*options, *wrong)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert says in err
        assert not (folder / "f").exists()
    (folder / "f/image").mkdir(parents=True)
    (folder / "f/image/notes.txt").touch()
    code, out, err = extracting(*options)
    assert (code, out) == (2, "")
    assert "holds other files" in err
    assert not (folder / "f/text").exists()


def test_the_project_gives_items_and_place_and_is_named(folder, extracting):
    (folder / "shop").mkdir()
    (folder / "shop/items.csv").write_text("item_id,text\na,aab\n")
    options = ("--modality", "text", "--encoder", "own_encoders:Letters")
    code, out, _ = extracting(*options, "--project", "shop")
    assert code == 0
    assert out.startswith("project: shop\n")
    assert extract.FeatureStore.open("shop/features/text").load().vectors[0, ord("a")] == 2
    (folder / "items.csv").write_text("item_id,text\nb,bbb\n")
    assert extracting(*options)[0] == 0
    assert extract.FeatureStore.open("features/text").ids() == ["b"]


def test_print_config_shows_what_would_run_and_runs_nothing(folder, extracting):
    code, out, err = extracting(
        *("--modality", "image", "--modality", "audio", "--items", "items.csv", "--out", "f"),
        *("--workers", 3, "--max-seconds", 12, "--compile", "--print-config"),
    )
    assert (code, err) == (0, "")
    image, audio = yaml.safe_load_all(out)
    assert image["encoder"] == "packaged:efficientnet-lite0"
    assert (audio["encoder"], audio["out"]) == ("packaged:whisper-tiny-en", "f/audio")
    assert image["workers"] == audio["workers"] == 3
    assert audio["max_seconds"] == 12
    assert image["compile"] is True
    assert not (folder / "f").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--modality", "imagge"], "unknown modality 'imagge' (did you mean 'image'?)"),
        (["--modality", "text", "--batch-size", "0"], "batch-size 0"),
        (["--modality", "text", "--dtype", "int8"], "int8"),
        (["--modality", "text", "--device", "tpu"], "tpu"),
        (["--modality", "text", "--items", "nowhere.csv"], "nowhere.csv: no such file"),
        (["--modality", "text", "--items", "broken.parquet"], "broken.parquet: not readable"),
        (["--modality", "text", "--column", "titel"], "did you mean 'title'?"),
        (["--modality", "text", "--text-template", "{titel}"], "did you mean 'title'?"),
        (["--modality", "image", "--text-template", "{title}"], "--text-template acts on text"),
        (["--modality", "text", "--media-root", "nowhere"], "--media-root acts on files"),
        (["--modality", "image", "--media-root", "nowhere"], "--media-root nowhere"),
        (["--modality", "text", "--encoder", "own_encoders:Missing"], "Missing"),
        (["--modality", "text", "--encoder", "own_encoders:Broken"], "no attribute 'model'"),
        (["--modality", "text", "--encoder", "nonsense:x"], "nonsense"),
        (["--modality", "text", "--encoder", "own_encoders:Letters", "--compile"], "no network"),
        (["--modality", "text", "--encoder", "own_encoders:Sized?dim=0"], "dim: must be a whole"),
        (["--modality", "text", "--encoder", "own_encoders:Sized?dim=8000000000"], "dim: must be"),
        (["--modality", "text", "--encoder", "own_encoders:Motionless"], "bolted down"),
        (["--modality", "image", "--encoder", "own_encoders:Letters"], "text"),
        (["--modality", "text", "--out", "file"], "file: is a file"),
        (["--modality", "text", "--out", "."], "holds other files"),
        (["--modality", "text", "--no-such-option"], "--no-such-option"),
        ([], "--modality"),
    ],
)
def test_what_is_wrong_is_one_line_and_exit_code_2(folder, extracting, arguments, says):
    (folder / "items.csv").write_text("item_id,title,image\na,Cat,a.png\nb,Dog,b.png\n")
    (folder / "broken.parquet").write_text("not parquet")
    (folder / "file").touch()
    for option, value in (("--items", "items.csv"), ("--out", "f")):
        if option not in arguments:
            arguments = [*arguments, option, value]
    if "--encoder" not in arguments:
        arguments = [*arguments, "--encoder", "own_encoders:Letters"]
    code, out, err = extracting(*arguments)
    assert code == 2
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert says in err


def test_without_items_and_project_the_message_says_what_to_do(folder, extracting):
    code, _, err = extracting("--modality", "image")
    assert code == 2
    assert "no project here" in err


def test_the_program_itself_runs_and_mends_a_torn_part(folder):
    rows = [{"id": str(n), "text": "x" * n} for n in range(1, 9)]
    write_table(folder / "items.jsonl", rows)
    command = [sys.executable, str(ROOT / "cli.py"), "extract", "--modality", "text"]
    command += ["--items", "items.jsonl", "--out", "f", "--encoder", "own_encoders:Letters"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}

    def run():
        return subprocess.run(
            command, capture_output=True, text=True, env=environment, timeout=120, check=False
        )

    first = run()
    assert first.returncode == 0, first.stderr
    assert "Traceback" not in first.stderr
    before = (folder / "f/part-0.npy").read_bytes()
    (folder / "f/part-0.json").write_text('{"rows": 8, "npy"')
    (folder / "f/part-0.npy").write_bytes(before[:100])
    assert run().returncode == 0
    assert (folder / "f/part-0.npy").read_bytes() == before
