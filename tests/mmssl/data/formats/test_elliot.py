import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from extract.errors import InputError
from extract.export.ducho import write_ducho
from mmssl.data.convert import convert
from mmssl.data.files.item_files import read_item_files
from mmssl.data.formats.elliot import Elliot
from mmssl.data.formats.registry import find_format, format_names, source_format
from mmssl.data.prepare import PrepareConfig, prepare
from tests.extract.conftest import fill_store  # noqa: F401 - a fixture
from tests.mmssl.data.formats import broken, raw


def make_elliot(folder):
    """Elliot's own names (``elliot/dataset/dataset.py``), Ducho's folders beside them.

    The folders are those of Formal-MultiMod-Rec's ``config_files/baby_1.yml``.
    """
    folder.mkdir()
    (folder / "train.tsv").write_text("0\t10\t5.0\t11\n0\t11\t3.5\t12\n1\t12\t1.0\t13\n")
    (folder / "val.tsv").write_text("0\t12\t2.0\t14\n")
    (folder / "test.tsv").write_text("1\t10\t4.0\t15\n")
    visual = folder / "visual_embeddings" / "torch" / "ResNet50" / "avgpool"
    textual = folder / "textual_embeddings" / "sentence_transformers" / "all-mpnet-base-v2" / "1"
    for each in (visual, textual):
        each.mkdir(parents=True)
    np.save(visual / "10.npy", np.array([1.0, 2.0, 3.0]))
    np.save(visual / "12.npy", np.array([4.0, 5.0, 6.0]))
    np.save(textual / "11.npy", np.array([[0.5, 0.25]], dtype=np.float32))
    return folder


def test_elliot_folder_by_hand(tmp_path):
    source = make_elliot(tmp_path / "baby")
    content = Elliot().read(source)
    assert {part: raw.rows(table.frame) for part, table in content.parts.items()} == {
        "train": {("0", "10", 5.0, 11), ("0", "11", 3.5, 12), ("1", "12", 1.0, 13)},
        "val": {("0", "12", 2.0, 14)},
        "test": {("1", "10", 4.0, 15)},
    }
    assert {name: raw.by_id(each) for name, each in content.features.items()} == {
        "image": {"10": [1, 2, 3], "12": [4, 5, 6]},
        "text": {"11": [0.5, 0.25]},
    }
    assert content.sources == {part: source / f"{part}.tsv" for part in ("train", "val", "test")}


def test_only_this_layout_recognises_it_and_tables_with_a_header_are_none_of_its(tmp_path):
    source = make_elliot(tmp_path / "baby")
    assert [name for name in format_names() if find_format(name).recognises(source)] == ["elliot"]
    for part in ("train", "val", "test"):
        path = source / f"{part}.tsv"
        path.write_text("user_id\titem_id\trating\ttimestamp\n" + path.read_text())
    assert source_format(source).name == "tables"
    with pytest.raises(InputError, match=r"train\.tsv, line 1, column 'user': a header"):
        Elliot().read(source)


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("7\ta\n8\tb\n", ["user", "item"]),
        ("7\ta\t1\n8\tb\t2\n", ["user", "item", "rating"]),
        # pandas fills in what is not there, and Elliot takes a rating of 1.
        ("7\ta\t\t5\n8\tb\t\t6\n", ["user", "item", "timestamp"]),
    ],
)
def test_a_dataset_of_two_to_four_columns(tmp_path, text, columns):
    (tmp_path / "dataset.tsv").write_text(text)
    assert Elliot().recognises(tmp_path)
    frame = Elliot().read(tmp_path).parts["interactions"].frame
    assert frame.columns == [*columns, "row"]
    assert frame["item"].to_list() == ["a", "b"]


@settings(max_examples=40, deadline=None)
@given(data=st.data(), rated=st.booleans(), timed=st.booleans())
def test_round_trip(tmp_path_factory, data, rated, timed):
    content = data.draw(raw.raw_datasets(rated=rated, timed=timed))
    folder = tmp_path_factory.mktemp("elliot")
    Elliot().write(content, None, folder, "made")
    raw.same(Elliot().read(folder), content, all_items=False)


def as_elliot_loads(paths, side_information):
    """What Elliot does with them: ``DataSetLoader``, ``VisualAttribute``, ``TextualAttribute``."""
    pandas = pytest.importorskip("pandas")
    columns = ["userId", "itemId", "rating", "timestamp"]
    frames = {
        option: pandas.read_csv(path, sep="\t", header=None, names=columns)
        for option, path in paths.items()
    }
    vectors = {}
    for side in side_information:
        (folder,) = (path for option, path in side.items() if option != "dataloader")
        files = {int(path.name.split(".")[0]): path for path in folder.iterdir()}
        vectors[side["dataloader"]] = {item: np.load(path) for item, path in files.items()}
    return frames, vectors


def test_elliot_finds_what_is_written_by_the_configuration_in_the_notes(tmp_path):
    # Names that pandas would change: 007, NA and 1e5 are no texts to it.
    users, items = ["007", "NA", "u 3"], ["B00001", "1e5", "c.d"]
    pairs = list(zip(users, items, strict=True))
    parts = {
        "train": raw.table(pairs, [1.0, 2.0, 3.0], [5, 6, 7]),
        "val": raw.table([("007", "1e5")], [4.0], [8]),
        "test": raw.table([("NA", "c.d")], [5.0], [9]),
    }
    vectors = {"B00001": [1.0, 2.0], "1e5": None, "c.d": [3.0, 4.0]}
    content = raw.RawDataset(
        parts, {name: raw.features(vectors) for name in ("image", "text", "video")}
    )
    folder = tmp_path / "made {0}"
    folder.mkdir()
    notes = Elliot().write(content, None, folder, folder.name)
    assert "video: in video_embeddings, for which Elliot has no loader of its own" in notes
    assert any("image: 1 of 3 items have no vector" in note for note in notes)
    config = yaml.safe_load("\n".join(notes[notes.index("experiment:") :]))
    told = config["experiment"]["data_config"]
    assert told.pop("strategy") == "fixed"
    # Elliot fills in the data set's name where a path has {0}.
    side = [
        {
            key: tmp_path / value.format("x") if "/" in value else value
            for key, value in each.items()
        }
        for each in told.pop("side_information")
    ]
    frames, loaded = as_elliot_loads(
        {option: tmp_path / path.format("x") for option, path in told.items()}, side
    )
    user_ids = (folder / "user_ids.txt").read_text().splitlines()
    item_ids = (folder / "item_ids.txt").read_text().splitlines()
    assert {
        option: [(user_ids[u], item_ids[i], r, t) for u, i, r, t in frame.itertuples(index=False)]
        for option, frame in frames.items()
    } == {
        "train_path": [(*p, r, t) for p, r, t in zip(pairs, [1, 2, 3], [5, 6, 7], strict=True)],
        "validation_path": [("007", "1e5", 4, 8)],
        "test_path": [("NA", "c.d", 5, 9)],
    }
    assert set(loaded) == {"VisualAttribute", "TextualAttribute"}
    for vectors_found in loaded.values():
        assert {item_ids[item]: row.tolist() for item, row in vectors_found.items()} == {
            "B00001": [1, 2],
            "c.d": [3, 4],
        }


def test_whole_numbers_stay_the_ids(tmp_path):
    source = make_elliot(tmp_path / "baby")
    convert(source, "elliot", tmp_path / "again")
    for part in ("train", "val", "test"):
        read = (tmp_path / "again" / f"{part}.tsv").read_text()
        assert read == (source / f"{part}.tsv").read_text()
    assert not list((tmp_path / "again").glob("*_ids.txt"))


def test_features_export_writes_what_is_read(tmp_path, fill_store):  # noqa: F811
    ids = ["a.b", "a/b!", "x" * 300, "quiet"]
    vectors = np.arange(8, dtype=np.float32).reshape(4, 2)
    store = fill_store(tmp_path / "s", vectors, ids=ids, absent={3: "failed"})
    source = tmp_path / "made"
    source.mkdir()
    (source / "dataset.tsv").write_text("".join(f"u\t{id_}\n" for id_ in ids))
    write_ducho(store, source / "visual_embeddings")
    wanted = dict(zip(ids[:3], vectors[:3].tolist(), strict=True))
    assert raw.by_id(Elliot().read(source).features["image"]) == wanted
    # Without the list of names the names themselves say it.
    (source / "visual_embeddings" / "names.csv").unlink()
    assert raw.by_id(Elliot().read(source).features["image"]) == wanted


def test_several_encoders_of_a_modality_are_modalities(tmp_path):
    source = make_elliot(tmp_path / "baby")
    other = source / "visual_embeddings" / "torch" / "MM.Fashion" / "avgpool"
    other.mkdir(parents=True)
    np.save(other / "10.npy", np.ones(2))
    features = Elliot().read(source).features
    assert sorted(features) == [
        "image-torch-MM_Fashion-avgpool",
        "image-torch-ResNet50-avgpool",
        "text",
    ]
    assert raw.by_id(features["image-torch-MM_Fashion-avgpool"]) == {"10": [1, 1]}


def test_prepare_reads_it_also_without_a_validation_part(tmp_path):
    source = make_elliot(tmp_path / "baby")
    (source / "val.tsv").unlink()
    report = prepare(PrepareConfig(source=source, out=tmp_path / "out"))
    counts = report.manifest.counts
    assert (counts.train, counts.val, counts.test) == (3, 0, 1)
    assert any("no validation part there" in line for line in report.warnings)
    assert report.manifest.modalities["image"].present == 2
    # And it is written again without one, for pandas reads no empty file.
    notes = convert(source, "elliot", tmp_path / "again").notes
    assert not (tmp_path / "again" / "val.tsv").exists()
    assert any("the validation part is empty" in note for note in notes)
    assert not any("validation_path" in note for note in notes)


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_a_broken_tsv_is_told_by_line_and_column(tmp_path_factory, data):
    source = make_elliot(tmp_path_factory.mktemp("broken") / "baby")
    path = source / data.draw(st.sampled_from(["train.tsv", "val.tsv", "test.tsv"]))
    broken.break_lines(path, "\t", data)
    broken.fails_well(lambda: Elliot().read(source), path)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_broken_array_is_told_by_its_name(tmp_path_factory, data):
    source = make_elliot(tmp_path_factory.mktemp("broken") / "baby")
    path = data.draw(st.sampled_from(sorted(source.rglob("*.npy"))))
    good = path.read_bytes()
    cut = data.draw(st.integers(0, len(good)))
    path.write_bytes(good[:cut] + data.draw(st.binary(max_size=8)) + good[cut + 8 :])
    broken.fails_well(lambda: Elliot().read(source), path, lines=False)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("train.tsv", "0\t10\t5\t1\n1\t\t2\t3\n", r"train\.tsv, line 2, column 'item': empty item"),
        ("val.tsv", "0\t12\tgood\t1\n", r"val\.tsv, line 1, column 'rating': rating that is not"),
        ("test.tsv", "0\t1\n\n0\t2\t3\n", r"test\.tsv, line 3, column 3: 3 fields where 2"),
        ("test.tsv", "", r"test\.tsv: the file is empty"),
        ("item_ids.txt", "a\na\n", r"item_ids\.txt: item id 'a' stands in lines 1 and 2"),
        ("item_ids.txt", "a\nb\n", r"train\.tsv, line 1, column 'item': '10' is no line of item_"),
    ],
)
def test_what_is_broken_is_named(tmp_path, name, text, message):
    source = make_elliot(tmp_path / "baby")
    (source / name).write_text(text)
    with pytest.raises(InputError, match=message):
        Elliot().read(source)


def test_arrays_that_do_not_fit_are_named(tmp_path):
    cases = [
        ("c", np.ones(3), r"c\.npy: 3 numbers, where a\.npy has 2"),
        ("c", np.ones((2, 2)), r"c\.npy: must be a vector of real numbers; it is float64 \(2, 2\)"),
        ("c", np.array(["x", "y"]), r"c\.npy: must be a vector of real numbers"),
        ("\udcff", np.ones(2), r"udcff\.npy.: the name is not UTF-8"),
        ("a.1", np.ones(2), r"a\.npy: of item 'a', as a\.1\.npy is"),
        ("d_e", np.ones(2), r"d_e\.npy: may be of item 'd e' or of 'd!e'; say whose"),
    ]
    for at, (name, array, message) in enumerate(cases):
        folder = tmp_path / str(at)
        folder.mkdir()
        np.save(folder / "a.npy", np.ones(2))
        np.save(folder / f"{name}.npy", array)
        with pytest.raises(InputError, match=message):
            read_item_files(folder, tmp_path, {"a", "d e", "d!e"})
    (folder / "names.csv").write_text("item_id,file\na,a.npy\n")
    with pytest.raises(InputError, match=r"d_e\.npy: in no line of .*names\.csv"):
        read_item_files(folder, tmp_path, set())
    (folder / "names.csv").unlink()
    with pytest.raises(InputError, match=r"a\.npy: 'a' is no line of item_ids\.txt, which has 1"):
        read_item_files(folder, tmp_path, set(), ["x"])


def test_what_cannot_be_written_is_refused(tmp_path):
    one = raw.table([("u", "a")])
    parts = {"train": one, "val": one, "test": raw.table([])}
    with pytest.raises(InputError, match="Elliot wants a test part that is not empty"):
        Elliot().write(raw.RawDataset(parts), None, tmp_path, "made")
    both = {name: raw.features({"a": [1.0]}) for name in ("image", "visual")}
    with pytest.raises(InputError, match=r"image and visual would both be .* visual_embeddings"):
        Elliot().write(raw.RawDataset({"interactions": one}, both), None, tmp_path, "made")
