import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extract.errors import InputError
from mmssl.data.formats.base import PARTS, RawDataset
from mmssl.data.formats.cornac import Cornac
from mmssl.data.formats.registry import find_format, format_names
from mmssl.data.interactions import InteractionTable
from tests.mmssl.data.formats import broken, raw


def make_cornac(folder):
    """The files of ``cornac/datasets/amazon_clothing.py``."""
    folder.mkdir()
    (folder / "rating.txt").write_text("u1\tB01\t5.0\nu1\tB02\t3.5\nu2\tB01\t1\n")
    (folder / "item_ids.txt").write_text("B02\nB01\nB03\n")
    np.save(folder / "image_features.npy", np.arange(6, dtype=np.float64).reshape(3, 2))
    (folder / "text.txt").write_text("B01::a blue shirt:: as new\nB02::\n")
    return folder


def test_cornac_folder_by_hand(tmp_path):
    source = make_cornac(tmp_path / "clothing")
    content = Cornac().read(source)
    assert raw.rows(content.parts["interactions"].frame) == {
        ("u1", "B01", 5.0),
        ("u1", "B02", 3.5),
        ("u2", "B01", 1.0),
    }
    assert raw.by_id(content.features["image"]) == {"B02": [0, 1], "B01": [2, 3], "B03": [4, 5]}
    assert content.sources["item ids"] == source / "item_ids.txt"
    items = Cornac().read_items(source)
    assert items.to_dicts() == [
        {"item_id": "B01", "text": "a blue shirt:: as new"},
        {"item_id": "B02", "text": None},
    ]


def test_only_this_layout_recognises_it(tmp_path):
    source = make_cornac(tmp_path / "clothing")
    assert [name for name in format_names() if find_format(name).recognises(source)] == ["cornac"]
    split = tmp_path / "split"
    split.mkdir()
    for part in ("train", "test"):
        (split / f"{part}.txt").write_text("u1\tB01\nu2\tB02\n")
    assert [name for name in format_names() if find_format(name).recognises(split)] == ["cornac"]
    # A line of LightGCN's train.txt: a user and many items.
    (split / "train.txt").write_text("0 1 2 3 4 5\n")
    assert not Cornac().recognises(split)


@pytest.mark.parametrize("separator", ["\t", "::", ",", " "])
def test_the_separators_of_its_data_sets(tmp_path, separator):
    rows = [("u1", "B01", "4.5", "11"), ("u2", "B02", "3", "12")]
    text = "".join(separator.join(row) + "\n" for row in rows)
    (tmp_path / "rating.txt").write_text(text)
    found = Cornac().read(tmp_path).parts["interactions"].frame
    assert raw.rows(found) == {("u1", "B01", 4.5, 11), ("u2", "B02", 3.0, 12)}


def test_a_matrix_without_ids_has_row_numbers_for_them(tmp_path):
    # cornac/data/modality.py: without ids the indices of the features are used.
    source = make_cornac(tmp_path / "clothing")
    (source / "item_ids.txt").unlink()
    assert Cornac().read(source).features["image"].ids == ["0", "1", "2"]
    assert list(Cornac().read(source).sources) == ["interactions"]


@settings(max_examples=25, deadline=None)
@given(data=st.data(), columns=st.sampled_from(["UI", "UIR", "UIRT"]))
def test_round_trip(tmp_path_factory, data, columns):
    content = data.draw(raw.raw_datasets(rated="R" in columns, timed="T" in columns))
    folder = tmp_path_factory.mktemp("cornac")
    ids = sorted(content.ids("item"))
    texts = st.none() | st.text("ab:é,\t\"'", min_size=1).filter(lambda t: t == t.strip())
    items = pl.DataFrame(
        {"item_id": ids, "text": [data.draw(texts) for _ in ids]},
        schema={"item_id": pl.String, "text": pl.String},
    )
    items = items.with_columns(pl.col("text").str.replace_all("\t", " ").str.replace_all(" +", " "))
    notes = Cornac().write(content, items, folder, "made")
    raw.same(Cornac().read(folder), content)
    assert dict(Cornac().read_items(folder).iter_rows()) == dict(items.iter_rows())
    assert not any("left out" in note or "are one blank" in note for note in notes)


def written(folder):
    """A folder of all that the layout holds, with the content and the notes."""
    parts = {
        "train": raw.table([("u1", "B1"), ("u 2", "B2")], [5.0, 2.5], [11, 12]),
        "val": raw.table([("u1", "B3")], [4.0], [13]),
        "test": raw.table([("u1", "B2"), ("u 2", "B3")], [1.0, 3.0], [14, 15]),
    }
    image = raw.features({"B3": [1.0, 2.0], "B1": [3.0, 4.0], "B2": None, "B9": [5.0, 6.0]})
    content = raw.RawDataset(parts, {"image": image, "text": raw.features({"B1": [0.5]})})
    items = pl.DataFrame({"item_id": ["B2", "B1"], "text": ["a::b\n c", None], "brand": ["x", "y"]})
    folder.mkdir()
    return content, Cornac().write(content, items, folder, folder.name)


def test_what_is_lost_and_how_it_is_read_is_told(tmp_path):
    _, notes = written(tmp_path / "made")
    assert notes == [
        "image: 1 of 4 items have no vector, and a row of zeros; image_features.mask.npy tells"
        " which",
        "text: 3 of 4 items have no vector, and a row of zeros; text_features.mask.npy tells which",
        "left out, for the layout has no place for it: brand",
        "text.txt: line breaks and double blanks are one blank in 1",
        "Cornac reads the files so, from the folder around them:",
        "train = cornac.data.Reader().read('made/train.txt', fmt='UIRT')",
        "val = cornac.data.Reader().read('made/val.txt', fmt='UIRT')",
        "test = cornac.data.Reader().read('made/test.txt', fmt='UIRT')",
        "image = FeatureModality(np.load('made/image_features.npy'),"
        " read_text('made/item_ids.txt'))",
        "text = FeatureModality(np.load('made/text_features.npy'), read_text('made/item_ids.txt'))",
        "texts = TextModality(*read_text('made/text.txt', sep='::'))",
    ]


def test_cornac_reads_what_is_written(tmp_path):
    pytest.importorskip("cornac")
    from cornac.data import Dataset, FeatureModality, ImageModality, Reader, TextModality
    from cornac.data.reader import read_text
    from cornac.eval_methods import BaseMethod

    folder = tmp_path / "made"
    content, _ = written(folder)
    tuples = {part: Reader().read(str(folder / f"{part}.txt"), fmt="UIRT") for part in PARTS}
    for part, table in content.parts.items():
        frame = table.frame.select("user", "item", "rating", "timestamp")
        assert tuples[part] == list(frame.iter_rows())
    dataset = Dataset.from_uirt(tuples["train"])
    assert (dataset.num_users, dataset.num_items, dataset.num_ratings) == (2, 2, 2)
    ids = read_text(str(folder / "item_ids.txt"))
    texts, text_ids = read_text(str(folder / "text.txt"), sep="::")
    method = BaseMethod.from_splits(
        tuples["train"],
        tuples["test"],
        tuples["val"],
        fmt="UIRT",
        item_feature=FeatureModality(np.load(folder / "text_features.npy"), ids),
        item_image=ImageModality(features=np.load(folder / "image_features.npy"), ids=ids),
        item_text=TextModality(texts, text_ids),
    )
    rows = method.global_iid_map
    assert sorted(rows) == ["B1", "B2", "B3"]
    assert method.test_set.num_ratings == 2
    # Each item's row is its own, after Cornac put them in the order of its own numbers.
    places = [rows[id_] for id_ in ("B1", "B2", "B3")]
    assert method.item_image.batch_feature(places).tolist() == [[3, 4], [0, 0], [1, 2]]
    assert method.item_feature.batch_feature(places).tolist() == [[0.5], [0], [0]]
    assert [method.item_text.corpus[place] for place in places] == ["", "a::b c", ""]


@pytest.mark.parametrize("columns", ["UI", "UIR"])
def test_cornac_reads_an_unsplit_folder(tmp_path, columns):
    pytest.importorskip("cornac")
    from cornac.data import Dataset, Reader

    pairs, ratings = [("7", "a"), ("8", "b"), ("7", "b")], [2.0, 3.5, 1.0]
    interactions = raw.table(pairs, ratings if columns == "UIR" else None)
    Cornac().write(raw.RawDataset({"interactions": interactions}), None, tmp_path, "made")
    dataset = Dataset.from_uir(Reader().read(str(tmp_path / "rating.txt"), fmt=columns))
    assert (dataset.num_users, dataset.num_items) == (2, 2)
    users, items, found = dataset.uir_tuple
    names = [(dataset.user_ids[u], dataset.item_ids[i]) for u, i in zip(users, items, strict=True)]
    wanted = ratings if columns == "UIR" else [1.0] * 3
    assert dict(zip(names, found, strict=True)) == dict(zip(pairs, wanted, strict=True))


def test_ratings_and_whole_times_where_cornac_wants_them(tmp_path):
    content = raw.RawDataset({"interactions": raw.table([("u", "a"), ("v", "a")])})
    frame = content.parts["interactions"].frame
    timed = raw.InteractionTable(tmp_path, frame.with_columns(timestamp=pl.Series([1.5, 2.0])))
    notes = Cornac().write(raw.RawDataset({"interactions": timed}), None, tmp_path, "made")
    assert (tmp_path / "rating.txt").read_text() == "u\ta\t1.0\t1\nv\ta\t1.0\t2\n"
    assert notes[:2] == [
        "interactions: timestamps are cut to whole numbers, for Cornac reads no others",
        "interactions: a rating of 1 stands before each timestamp, for Cornac wants one there",
    ]


def test_a_column_that_not_all_parts_have_is_left_out(tmp_path):
    rated, plain = raw.table([("u", "a")], [2.0]), raw.table([("u", "b")])
    content = raw.RawDataset({"train": rated, "val": plain, "test": plain})
    notes = Cornac().write(content, None, tmp_path, "made")
    assert notes[0] == "left out, for not all parts have it: rating"
    assert (tmp_path / "train.txt").read_text() == "u\ta\n"


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_a_broken_file_of_tuples_is_told_by_line_and_column(tmp_path_factory, data):
    source = make_cornac(tmp_path_factory.mktemp("broken") / "clothing")
    path = source / "rating.txt"
    broken.break_lines(path, "\t", data)
    broken.fails_well(lambda: Cornac().read(source), path)


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_a_broken_file_of_texts_is_told_by_line_and_column(tmp_path_factory, data):
    source = make_cornac(tmp_path_factory.mktemp("broken") / "clothing")
    path = source / "text.txt"
    broken.break_lines(path, "::", data)
    broken.fails_well(lambda: Cornac().read_items(source), path)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("rating.txt", "u\ta\t1\nu\tb\tc\n", r"rating\.txt, line 2, column 'rating': rating that"),
        ("rating.txt", "0 1 2 3 4 5\n", r"rating\.txt, line 1, column 5: 6 fields where 4"),
        ("item_ids.txt", "a\nb\n", r"image_features\.npy: 3 rows for 2 items"),
        ("item_ids.txt", "a\na\nb\n", r"item_ids\.txt: item id 'a' stands in lines 1 and 2"),
        ("train.txt", "u\ta\n", r"test\.txt: no such file"),
    ],
)
def test_what_is_broken_is_named(tmp_path, name, text, message):
    source = make_cornac(tmp_path / "clothing")
    (source / name).write_text(text)
    with pytest.raises(InputError, match=message):
        Cornac().read(source)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a::x\nb\n", r"text\.txt, line 2, column 'text': no '::' between id and text"),
        ("a::x\na::y\n", r"text\.txt, line 2, column 'item_id': id 'a' stands in line 1"),
        ("::x\n", r"text\.txt, line 1, column 'item_id': the id is empty"),
    ],
)
def test_broken_texts_are_named(tmp_path, text, message):
    (tmp_path / "text.txt").write_text(text)
    with pytest.raises(InputError, match=message):
        Cornac().read_items(tmp_path)


@pytest.mark.parametrize(
    ("user", "item", "message"),
    [
        (" u", "a", "user id ' u' begins or ends with a blank"),
        ("u", "a\t", r"item id 'a\\t' begins or ends with a blank"),
        ("u\tv", "a", r"rating\.txt: user 'u\\tv' cannot stand in it"),
        ("u", "a::b", r"text\.txt: the item id 'a::b' holds '::'"),
    ],
)
def test_ids_that_cornac_would_change_are_refused(tmp_path, user, item, message):
    content = raw.RawDataset({"interactions": raw.table([(user, item)])})
    items = pl.DataFrame({"item_id": [item], "text": ["x"]})
    with pytest.raises(InputError, match=message):
        Cornac().write(content, items, tmp_path, "made")


def test_a_time_that_no_whole_number_holds_is_refused(tmp_path):
    part = raw.table([("u", "a")])
    frame = part.frame.with_columns(pl.Series("timestamp", [1e300]))
    content = RawDataset({"interactions": InteractionTable(part.path, frame)})
    with pytest.raises(InputError, match=r"--to cornac: the timestamp 1e\+300 is no whole"):
        Cornac().write(content, None, tmp_path, "made")
