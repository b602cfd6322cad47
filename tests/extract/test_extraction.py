import copy
import json
import math

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

import extract
from extract.errors import TooManyErrors
from extract.extraction import check
from extract.summary import ExtractionSummary


@pytest.fixture
def table(write_items):
    return write_items(
        ["item_id", "text", "title"],
        [["a.b/c", "one", "First"], ["猫", None, "Second"], ["c", "  ", "Third"], ["d", "", "4"]],
    )


@pytest.fixture
def run(table, tmp_path, byte_histogram):
    def call(using=None, progress=False, **options) -> ExtractionSummary:
        values = {"items": table, "modality": "text", "out": tmp_path / "store"} | options
        config = extract.ExtractionConfig.parse(values)
        return extract.run(config, encoder=using or byte_histogram(), progress=progress)

    return call


def test_a_run_counts_and_names_what_became_of_the_items(run, tmp_path):
    summary = run()
    counts = (summary.items, summary.ok, summary.failed, summary.missing, summary.processed)
    assert counts == (4, 1, 1, 2, 4)
    assert summary.reasons == {"empty text": 1}
    assert summary.examples == {"empty text": ["c"]}
    assert summary.path == tmp_path / "store"
    assert summary.items_per_second == pytest.approx(4 / summary.seconds)
    assert str(summary).splitlines()[2:] == [
        "ok 1, failed 1, missing 2",
        "  failed 1: empty text (c)",
        "once that is mended, the command with --update tries the failed again",
        f"features: {tmp_path / 'store'}",
    ]


def test_the_store_keeps_the_ids_and_says_what_made_it(run, tmp_path, histogram_of):
    run(dtype="float32", rows_per_part=3)
    store = extract.FeatureStore.open(tmp_path / "store")
    assert store.ids() == ["a.b/c", "猫", "c", "d"]
    assert store.statuses()["status"].to_list() == ["ok", "missing", "failed", "missing"]
    loaded = store.load()
    np.testing.assert_array_equal(loaded.vectors[0], histogram_of("one"))
    manifest = store.manifest
    assert manifest.encoder.endswith(":ByteHistogram")
    assert manifest.fingerprint == {"preprocessing": "utf-8 bytes", "bins": [0, 256]}
    assert (manifest.dim, manifest.space, manifest.dtype) == (256, "byte-histogram", "float32")
    assert (manifest.modality, manifest.source) == ("text", "column 'text'")
    assert (store.item_count, manifest.rows_per_part) == (4, 3)
    # The installed distribution may leave out the build's "+cpu".
    assert torch.__version__.startswith(manifest.libraries["torch"])
    assert str(tmp_path) not in (tmp_path / "store/manifest.json").read_text()


def test_the_examples_are_few_and_the_reasons_ordered(run, write_items):
    rows = [[f"t{n}", " "] for n in range(9)] + [["ok", "x"]]
    summary = run(items=write_items(["id", "text"], rows, "more.csv"))
    assert summary.reasons == {"empty text": 9}
    assert summary.examples == {"empty text": ["t0", "t1", "t2"]}


def test_a_second_run_encodes_nothing_and_says_so(run, byte_histogram):
    first = run()
    encoder = byte_histogram()
    second = run(encoder)
    assert encoder.batches == []
    assert (second.processed, second.items_per_second) == (0, 0.0)
    assert second.reasons == first.reasons
    assert "nothing was encoded (--update also compares the items' contents)" in str(second)


def test_a_run_that_goes_on_says_what_was_there(run, tmp_path):
    run(rows_per_part=2)
    (tmp_path / "store/part-0.json").unlink()
    assert "2 stood in the store already" in str(run(rows_per_part=2))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"encoder": "other:Class"}, r"encoder '.*ByteHistogram' there, 'other:Class' now"),
        ({"dtype": "bfloat16"}, r"dtype 'float32' there, 'bfloat16' now"),
        ({"rows_per_part": 2}, "rows_per_part 1024 there, 2 now"),
        (
            {"text_template": "{title}"},
            r"source \"column 'text'\" there, \"template '{title}'\" now",
        ),
    ],
)
def test_a_store_made_otherwise_is_refused_with_the_difference(run, options, says):
    run()
    with pytest.raises(extract.InputError, match=says) as refusal:
        run(**options)
    assert "--overwrite" in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert run(**options, overwrite=True).processed == 4


def test_a_changed_fingerprint_is_refused(run, byte_histogram):
    run()

    class Changed(byte_histogram):
        def fingerprint(self):
            return super().fingerprint() | {"preprocessing": "lower case"}

    Changed.__module__, Changed.__qualname__ = byte_histogram.__module__, "ByteHistogram"
    with pytest.raises(extract.InputError, match=r"fingerprint\.preprocessing 'utf-8 bytes' there"):
        run(Changed())


def test_another_longest_sound_is_another_extraction(tmp_path, loudness):
    soundfile.write(tmp_path / "a.wav", np.full(8000, 0.5), 8000)

    def go(**options):
        values = {"items": tmp_path, "modality": "audio", "out": tmp_path / "store"} | options
        return extract.run(extract.ExtractionConfig.parse(values), encoder=loudness())

    assert go().ok == 1
    with pytest.raises(extract.InputError, match=r"decoding\.max_seconds 600\.0 there, 0\.5 now"):
        go(max_seconds=0.5)
    summary = go(max_seconds=0.5, overwrite=True)
    assert summary.reasons == {"sound too long (more than 0.5 seconds)": 1}


def test_overwriting_spares_the_files_that_are_not_the_stores(run, tmp_path):
    run()
    (tmp_path / "store/notes.txt").write_text("mine")
    assert run(overwrite=True).processed == 4
    assert (tmp_path / "store/notes.txt").read_text() == "mine"


def test_a_store_whose_list_of_items_is_lost_is_not_replaced_unasked(run, tmp_path):
    run()
    (tmp_path / "store/items-0.parquet").unlink()
    before = {file.name: file.read_bytes() for file in (tmp_path / "store").iterdir()}
    with pytest.raises(extract.InputError, match=r"items-0\.parquet, which says whose they are"):
        run()
    assert {f.name: f.read_bytes() for f in (tmp_path / "store").iterdir()} == before
    assert run(overwrite=True).processed == 4


def test_a_store_of_another_version_can_be_overwritten(run, tmp_path):
    run()
    manifest = json.loads((tmp_path / "store/manifest.json").read_text())
    (tmp_path / "store/manifest.json").write_text(json.dumps(manifest | {"schema_version": 1}))
    with pytest.raises(extract.InputError, match="schema_version"):
        run()
    assert run(overwrite=True).processed == 4


def test_a_folder_with_something_else_in_it_is_left_alone(run, tmp_path, table):
    with pytest.raises(extract.InputError, match="holds other files"):
        run(out=table.parent)
    (tmp_path / "site").mkdir()
    (tmp_path / "site/manifest.json").write_text('{"name": "a web page"}')
    for overwrite in (False, True):
        says = "left alone" if overwrite else "not the manifest of a feature store"
        with pytest.raises(extract.InputError, match=says):
            run(out=tmp_path / "site", overwrite=overwrite)
    assert (tmp_path / "site/manifest.json").read_text() == '{"name": "a web page"}'


def test_an_encoder_of_another_modality_or_without_a_plain_fingerprint_is_refused(
    run, mean_colour, byte_histogram
):
    with pytest.raises(extract.InputError, match="takes image, not text"):
        run(mean_colour())
    for value in ({1, 2}, math.nan):
        encoder = byte_histogram()
        encoder.fingerprint = lambda value=value: {"weights": value}
        with pytest.raises(extract.InputError, match="fingerprint is not plain JSON"):
            run(encoder)


def raising(*_, **__):
    raise OSError("no such\nweights")


@pytest.mark.parametrize(
    ("attributes", "says"),
    [
        ({"dim": 0}, "dim: must be a whole number above 0; it is 0"),
        ({"dim": None}, "dim: must be a whole number"),
        ({"dim": "4"}, "dim: must be a whole number"),
        ({"dim": 10**12}, "dim: must be at most 1000000; it is 1000000000000"),
        ({"dim": property(raising)}, "dim: OSError: no such weights"),
        ({"space": None}, "space: must be a text"),
        ({"space": property(raising)}, "space: OSError"),
        ({"modalities": None}, "modalities: must be a tuple"),
        ({"modalities": 3}, "modalities: "),
        ({"modalities": "text"}, "modalities: must be a tuple"),
        ({"fingerprint": raising}, "fingerprint() failed (OSError: no such"),
        ({"fingerprint": lambda _: None}, "fingerprint() must give a dict; it gave NoneType"),
        ({"fingerprint": lambda _: {"a": object()}}, "fingerprint is not plain JSON"),
        ({"to": raising}, "could not be made ready on cpu as float32 (OSError: no such"),
        ({"to": lambda *_: None}, "to() must return the encoder; it returned NoneType"),
    ],
)
def test_an_encoder_that_breaks_the_contract_is_refused_before_a_store_is_begun(
    run, byte_histogram, tmp_path, attributes, says
):
    wrong = type("Wrong", (byte_histogram,), attributes)
    with pytest.raises(extract.InputError) as refusal:
        run(wrong(), device="cpu")
    assert says in str(refusal.value)
    assert "Wrong" in str(refusal.value)
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_the_dtype_is_what_the_encoder_computes_in(run, byte_histogram, tmp_path, dtype):
    torch.manual_seed(0)
    layer = torch.nn.Linear(256, 256)

    class Linear(byte_histogram):
        def __init__(self):
            super().__init__()
            self.layer = copy.deepcopy(layer)

        def encode(self, batch):
            return self.layer(super().encode(batch).to(self.layer.weight.dtype))

    encoder, precision = Linear(), getattr(torch, dtype)
    run(encoder, dtype=dtype, device="cpu", batch_size=64)
    assert encoder.layer.weight.dtype == precision
    store = extract.FeatureStore.open(tmp_path / "store")
    assert store.manifest.dtype == dtype
    (batch,) = encoder.batches
    counts = torch.stack([torch.bincount(torch.tensor([*text]), minlength=256) for text in batch])
    with torch.inference_mode():
        wanted = layer.to(precision)(counts.to(precision)).float().numpy()
    loaded = store.load()
    # Stored as float32, with just the numbers of the precision asked for.
    assert loaded.vectors.dtype == np.float32
    found = loaded.vectors[loaded.present]
    np.testing.assert_array_equal(sorted(map(tuple, found)), sorted(map(tuple, wanted)))


def test_a_device_that_is_not_there_is_refused(run):
    with pytest.raises(extract.InputError, match="cuda:99"):
        run(device="cuda:99", overwrite=True)


def test_batch_size_workers_and_overwrite_act(run, byte_histogram, write_items):
    many = write_items(["id", "text"], [[str(n), f"x{n}"] for n in range(8)], "many.csv")
    encoder = byte_histogram()
    run(encoder, items=many, batch_size=3, workers=2)
    assert [len(batch) for batch in encoder.batches] == [3, 3, 2]
    encoder = byte_histogram()
    run(encoder, items=many, overwrite=True)
    assert [len(batch) for batch in encoder.batches] == [8]


def test_a_media_root_that_is_no_folder_is_refused(run, table):
    with pytest.raises(extract.InputError, match="no such folder"):
        run(media_roots=[table])


def test_pictures_come_from_the_tables_folder_and_the_media_roots_only(
    tmp_path, write_items, mean_colour
):
    for folder, shade in (("project", 10), ("media", 20), ("outside", 30)):
        (tmp_path / folder).mkdir()
        Image.new("RGB", (4, 4), (shade, 0, 255)).save(tmp_path / folder / "a.png")
    (tmp_path / "project/link.png").symlink_to(tmp_path / "outside/a.png")
    rows = [
        ["near", "a.png"],
        ["root", str(tmp_path / "media/a.png")],
        ["up", "../outside/a.png"],
        ["absolute", str(tmp_path / "outside/a.png")],
        ["link", "link.png"],
        ["lost", "nowhere.png"],
        ["none", None],
    ]
    items = write_items(["id", "image"], rows, "project/items.csv")

    def go(*roots, out):
        config = extract.ExtractionConfig(
            items=items, modality="image", out=tmp_path / out, media_roots=roots
        )
        summary = extract.run(config, encoder=mean_colour())
        return summary, extract.FeatureStore.open(tmp_path / out)

    summary, store = go(tmp_path / "media", out="one")
    assert summary.reasons == {"outside the media roots": 3, "file not found": 1}
    assert summary.examples["outside the media roots"] == ["up", "absolute", "link"]
    assert store.load().present.tolist() == [True, True] + [False] * 5
    assert store.load().vectors[:2].tolist() == [[10, 0, 255], [20, 0, 255]]
    digests = store.statuses()["digest"].to_list()
    assert digests[2:] == [None] * 5  # nothing outside was even opened
    assert go(tmp_path / "media", tmp_path / "outside", out="two")[0].ok == 5
    assert go(out="three")[0].reasons["outside the media roots"] == 4


def test_progress_shows_rate_and_counts_on_standard_error(run, capsys):
    run(progress=True)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "4/4" in printed.err
    assert "items/s" in printed.err
    run(overwrite=True)
    assert capsys.readouterr().err == ""


def test_the_manifest_is_plain_json_with_its_schema_version(run, tmp_path):
    run()
    manifest = json.loads((tmp_path / "store/manifest.json").read_text())
    assert manifest["schema_version"] == 3
    assert manifest["format"] == "mmssl-feature-store"


def test_the_public_names_are_there():
    for name in extract.__all__:
        assert getattr(extract, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = extract.Nothing


def test_a_first_try_that_finished_no_part_does_not_hold_the_folder(run, tmp_path, byte_histogram):
    class Broken(byte_histogram):
        def encode(self, batch):
            raise TypeError("no")

    with pytest.raises(extract.InputError, match="TypeError: no"):
        run(Broken())
    assert (tmp_path / "store/manifest.json").exists()
    assert run(rows_per_part=2).processed == 4
    with pytest.raises(extract.InputError, match="made otherwise"):
        run(Broken())


def test_failures_of_a_finished_store_count_against_max_errors(run):
    run()
    with pytest.raises(TooManyErrors, match=r"1 items failed, .* 0 allowed \(1: empty text"):
        run(max_errors=0)
    assert run(max_errors=1).failed == 1


def test_reasons_that_grow_with_the_items_are_cut_and_control_characters_escaped(
    run, write_items, byte_histogram
):
    class Picky(byte_histogram):
        def preprocess(self, raw):
            raise ValueError(f"refused {raw}")

    rows = [[f"i\x1b[2J{n}", f"{'abcdefghijklm'[n]}\x07"] for n in range(13)]
    summary = run(Picky(), items=write_items(["id", "text"], rows, "more.csv"))
    lines = str(summary).splitlines()
    assert len([line for line in lines if line.startswith("  failed")]) == 11
    assert "  failed 3: 3 more reasons" in lines
    assert "  failed 1: refused a\\x07 (i\\x1b[2J0)" in lines
    assert "NOT ONE ITEM WAS ENCODED" in str(summary)
    assert "NOT ONE" not in str(run(overwrite=True))


def test_a_check_finds_what_would_stop_a_run_and_writes_nothing(table, tmp_path):
    def config(**options):
        values = {"items": table, "modality": "image", "out": tmp_path / "store"} | options
        values.setdefault("encoder", "examples.custom_encoder:ColourHistogram?bins=2")
        return extract.ExtractionConfig.parse(values)

    check(config(column="text"))
    (tmp_path / "file").touch()
    for options, says in (
        ({"column": "photo"}, "no column 'photo'"),
        ({"column": "text", "encoder": "examples.custom_encoder:ColourHistogram?bins=0"}, "dim"),
        ({"column": "text", "out": tmp_path / "file"}, "is a file"),
    ):
        with pytest.raises(extract.InputError, match=says):
            check(config(**options))
    assert not (tmp_path / "store").exists()


def test_a_compiled_run_is_recorded_and_not_mixed_with_another(run, tmp_path, monkeypatch):
    # Traced and run by PyTorch: test_compilation.py makes code of a network.
    original, compiled = torch.nn.Module.compile, []

    def traced(module, **options):
        compiled.append(module)
        original(module, backend="eager", **options)

    monkeypatch.setattr(torch.nn.Module, "compile", traced)

    class Lengths(extract.Encoder):
        modalities, dim, space = ("text",), 2, "lengths"

        def __init__(self):
            self.model = torch.nn.Linear(1, 2)
            torch.nn.init.constant_(self.model.weight, 3)

        def preprocess(self, raw):
            return float(len(raw))

        def encode(self, batch):
            lengths = torch.tensor(batch, device=self.model.weight.device)
            return self.model(lengths.unsqueeze(1)) - self.model.bias

        def fingerprint(self):
            return {"factor": 3}

    encoder = Lengths()
    run(encoder, compile=True)
    assert compiled == [encoder.model]
    store = extract.FeatureStore.open(tmp_path / "store")
    assert store.manifest.fingerprint == {"factor": 3, "compiled": True}
    np.testing.assert_allclose(store.load().vectors[0], [9, 9], rtol=1e-6)
    with pytest.raises(extract.InputError, match=r"fingerprint\.compiled True there, None now"):
        run(Lengths())
    run(Lengths(), overwrite=True)
    assert len(compiled) == 1
    store = extract.FeatureStore.open(tmp_path / "store")
    assert store.manifest.fingerprint == {"factor": 3}


def test_pillows_warnings_about_odd_pictures_are_not_printed(tmp_path, mean_colour, recwarn):
    exif = b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\x01"
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png", exif=exif)
    # More than Pillow's own limit, less than twice as much: it warns, and we refuse.
    Image.new("1", (10_000, 9_000)).save(tmp_path / "b.png")
    config = extract.ExtractionConfig(items=tmp_path, modality="image", out=tmp_path / "store")
    summary = extract.run(config, encoder=mean_colour())
    assert (summary.ok, summary.failed) == (1, 1)
    assert "picture too large (90000000 pixels" in next(iter(summary.reasons))
    assert [str(warning.message) for warning in recwarn] == []
