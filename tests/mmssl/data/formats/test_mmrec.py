import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extract.errors import InputError
from mmssl.data.formats.mmrec import MMRec
from mmssl.data.formats.registry import find_format, format_names
from tests.mmssl.data.formats import broken, raw

INTER = """userID\titemID\trating\ttimestamp\tx_label
0\t0\t5.0\t1390694400\t0
0\t2\t4.0\t1390694401\t1
1\t1\t2.5\t1390694402\t0
1\t0\t1.0\t1390694403\t2
"""


def make_mmrec(folder):
    """As MMRec's preprocessing/0rating2inter.ipynb writes it and its data sets are shared."""
    folder.mkdir(parents=True)
    (folder / f"{folder.name}.inter").write_text(INTER)
    (folder / "u_id_mapping.csv").write_text("user_id\tuserID\nA3PM\t0\nA1SN\t1\n")
    # In the mapping the order is another, and pandas puts quotes around what holds one.
    (folder / "i_id_mapping.csv").write_text('asin\titemID\nB2\t2\n"B""1"\t1\n0000\t0\n')
    np.save(folder / "image_feat.npy", np.arange(12, dtype=np.float64).reshape(3, 4))
    np.save(folder / "text_feat.npy", np.ones((3, 2), dtype=np.float32))
    return folder


def test_a_folder_by_hand(tmp_path):
    source = make_mmrec(tmp_path / "baby")
    content = MMRec().read(source)
    assert {part: raw.rows(table.frame) for part, table in content.parts.items()} == {
        "train": {("A3PM", "0000", 5.0, 1390694400), ("A1SN", 'B"1', 2.5, 1390694402)},
        "val": {("A3PM", "B2", 4.0, 1390694401)},
        "test": {("A1SN", "0000", 1.0, 1390694403)},
    }
    assert raw.by_id(content.features["image"]) == {
        "0000": [0, 1, 2, 3],
        'B"1': [4, 5, 6, 7],
        "B2": [8, 9, 10, 11],
    }
    assert raw.by_id(content.features["text"])["B2"] == [1, 1]
    assert set(content.sources) == {"interactions", "user ids", "item ids"}
    assert content.warnings == ()
    assert MMRec().read_items(source) is None


def test_without_mappings_the_numbers_are_the_ids(tmp_path):
    source = make_mmrec(tmp_path / "baby")
    for name in ("u_id_mapping.csv", "i_id_mapping.csv"):
        (source / name).unlink()
    (source / "baby.inter").write_text("userID\titemID\tx_label\n7\t0\t0\n7\t2\t1\n7\t1\t2\n")
    content = MMRec().read(source / "baby.inter")
    assert raw.rows(content.parts["val"].frame) == {("7", "2")}
    assert raw.by_id(content.features["image"])["1"] == [4, 5, 6, 7]


def test_no_other_layout_recognises_it(tmp_path):
    source = make_mmrec(tmp_path / "baby")
    for made in (source, source / "baby.inter"):
        assert [name for name in format_names() if find_format(name).recognises(made)] == ["mmrec"]


def test_graphs_and_matrices_of_other_lengths_are_told(tmp_path):
    source = make_mmrec(tmp_path / "baby")
    (source / "user_graph_dict.npy").write_bytes(b"\x80\x04.")
    np.save(source / "audio_feat.npy", np.ones((2, 2), dtype=np.float32))
    content = MMRec().read(source)
    assert any("user_graph_dict.npy: not read" in each for each in content.warnings)
    assert any("audio_feat.npy: 2 rows, while" in each for each in content.warnings)
    assert raw.by_id(content.features["audio"]) == {"0000": [1, 1], 'B"1': [1, 1]}


@settings(max_examples=40, deadline=None)
@given(content=raw.raw_datasets(split=True, rated=True, timed=True))
def test_round_trip(tmp_path_factory, content):
    folder = tmp_path_factory.mktemp("mmrec")
    MMRec().write(content, None, folder, "made")
    raw.same(MMRec().read(folder), content)


@settings(max_examples=40, deadline=None)
@given(content=raw.raw_datasets(split=True))
def test_what_mmrec_counts_fits_the_matrices(tmp_path_factory, content):
    folder = tmp_path_factory.mktemp("mmrec")
    MMRec().write(content, None, folder, "made")
    inter = pl.read_csv(folder / "made.inter", separator="\t")
    assert inter.columns == ["userID", "itemID", "x_label"]
    # RecDataset counts users and items by the highest number; a model adds matrices row by row.
    assert inter["itemID"].max() + 1 == len(np.load(folder / "image_feat.npy"))
    assert sorted(inter["userID"].unique()) == list(range(inter["userID"].max() + 1))
    assert inter["x_label"].value_counts().sort("x_label")["count"].to_list() == [
        content.parts[part].frame.height for part in ("train", "val", "test")
    ]


def test_files_to_the_letter_and_what_is_told(tmp_path):
    part = raw.table([("u", "b")], [5.0], [12])
    content = raw.RawDataset(
        {"train": part, "val": part, "test": raw.table([("new", "a")], [1.0], [13])},
        {"image": raw.features({"a": [1.0], "b": [2.0]}), "audio": raw.features({"a": [3.0]})},
    )
    notes = MMRec().write(content, pl.DataFrame({"item_id": ["a"]}), tmp_path, "made")
    assert (tmp_path / "made.inter").read_text() == (
        "userID\titemID\trating\ttimestamp\tx_label\n1\t1\t5.0\t12\t0\n1\t1\t5.0\t12\t1\n"
        "0\t0\t1.0\t13\t2\n"
    )
    assert (tmp_path / "i_id_mapping.csv").read_text() == "asin\titemID\na\t0\nb\t1\n"
    assert (tmp_path / "u_id_mapping.csv").read_text() == "user_id\tuserID\nnew\t0\nu\t1\n"
    told = "\n".join(notes)
    assert "left out, for the layout has no place for it: descriptions of items" in told
    assert "1 interactions of validation and test are of users whom nothing trains" in told
    assert "inter_file_name: 'made.inter'" in told
    assert "vision_feature_file: 'image_feat.npy', text_feature_file: 'text_feat.npy'" in told
    assert "runs only models that need none" not in told
    assert "audio: written, but MMRec reads image and text only" in told


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("baby.inter", "x_label", "label", r"baby\.inter, line 1: no column 'x_label'"),
        ("baby.inter", "\t2\n", "\t3\n", r"line 5, column 'x_label': 3 is no part of a split"),
        ("baby.inter", "1\t1\t2.5", "1\tB1\t2.5", r"line 4, column 'itemID': 'B1' is no number"),
        ("baby.inter", "1\t1\t2.5", "1\t9\t2.5", r"line 4, column 'itemID': 9 has no line in i_id"),
        ("baby.inter", "2.5", "good", r"line 4, column 'rating': rating that is not a finite"),
        ("i_id_mapping.csv", "0000\t0", "0000\t2", r"line 4, column 'itemID': 2 is below 0, or"),
        ("i_id_mapping.csv", "0000\t0", "B2\t0", r"line 4, column 'asin': id 'B2' stands in line"),
        ("i_id_mapping.csv", "0000\t0", "0000\t3", r"line 2, column 'itemID': 0 has no line"),
        ("u_id_mapping.csv", "user_id\tuserID", "userID\tuser_id", r"not a whole number \('A3PM'"),
    ],
)
def test_what_is_broken_is_named(tmp_path, name, old, new, message):
    source = make_mmrec(tmp_path / "baby")
    text = (source / name).read_text()
    assert old in text
    (source / name).write_text(text.replace(old, new))
    with pytest.raises(InputError, match=message):
        MMRec().read(source)


def test_a_row_without_an_id_and_several_files(tmp_path):
    source = make_mmrec(tmp_path / "baby")
    np.save(source / "text_feat.npy", np.ones((5, 2), dtype=np.float32))
    with pytest.raises(InputError, match=r"text_feat\.npy: row 3 of 5, from 0, has no line"):
        MMRec().read(source)
    (source / "baby.inter").rename(source / "a.inter")
    (source / "b.inter").write_text(INTER)
    with pytest.raises(InputError, match=r"several files of interactions \(a\.inter, b\.inter\)"):
        MMRec().read(source)
    with pytest.raises(InputError, match=r"holds no <name>\.inter"):
        MMRec().read(tmp_path)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
@pytest.mark.parametrize("name", ["baby.inter", "i_id_mapping.csv", "u_id_mapping.csv"])
def test_a_broken_file_reads_or_is_named(tmp_path_factory, name, data):
    source = make_mmrec(tmp_path_factory.mktemp("mmrec") / "baby")
    broken.break_lines(source / name, "\t", data)
    broken.fails_well(lambda: MMRec().read(source), source / name)


def test_a_folder_without_what_mmrec_reads_is_told(tmp_path):
    part = raw.table([("u", "a")])
    content = raw.RawDataset({"train": part, "val": part, "test": part})
    notes = MMRec().write(content, None, tmp_path, "made")
    assert notes[-1] == "without image or text features MMRec runs only models that need none"
    assert MMRec().read(tmp_path).features == {}


def test_unsplit_interactions_are_refused(tmp_path):
    content = raw.RawDataset({"interactions": raw.table([("u", "a")])})
    with pytest.raises(InputError, match="split the interactions first"):
        MMRec().write(content, None, tmp_path, "made")


def test_files_without_a_modality_and_hidden_ones_are_no_features(tmp_path):
    (tmp_path / "x.inter").write_text(
        "userID\titemID\tx_label\n" + "".join(f"0\t{label}\t{label}\n" for label in range(3))
    )
    (tmp_path / "._x.inter").write_bytes(b"\0\5\26\7")
    np.save(tmp_path / "image_feat.npy", np.ones((3, 2)))
    for name in ("_feat.npy", "._image_feat.npy"):
        (tmp_path / name).write_bytes(b"no matrix")
    assert MMRec().recognises(tmp_path)
    assert list(MMRec().read(tmp_path).features) == ["image"]
