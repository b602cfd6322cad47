import re
import string

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extract.errors import InputError
from mmssl.data.formats.recbole import RecBole
from mmssl.data.formats.registry import find_format, format_names
from tests.mmssl.data.formats import broken, raw

# Without the words that pandas, and so RecBole, takes for a missing value.
MODALITIES = ("image", "a-b", "item")
IDS = raw.IDS.filter(lambda id_: not re.fullmatch("-?nan|na|null|none", id_.lower()))
INTER = """user_id:token\titem_id:token\trating:float\ttimestamp:float
196\t242\t3\t881250949
186\t302\t3\t891717742
196\tB5\t2.5\t891717743
"""
ITEM = """item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq
242\tToy Story\t1995\tAnimation Comedy
302\t12" Vinyl\t\t
B5\t"The ""Quoted"" Movie"\t1995\tCrime
242\tAgain\t1990\tDrama
"""
VECTORS = """iid:token\titem_emb:float_seq
242\t0.5 -1 2e-3
B5\t1  2 3
7\t
"""


def make_recbole(folder):
    """As RecBole's dataset_example/ml-100k is, with vectors as its guide to embeddings has them."""
    folder.mkdir(parents=True)
    (folder / "ml.inter").write_text(INTER)
    (folder / "ml.item").write_text(ITEM)
    (folder / "ml.itememb").write_text(VECTORS)
    return folder


def make_split(folder):
    folder.mkdir(parents=True)
    header, *lines = INTER.splitlines()
    for part, line in zip(("train", "valid", "test"), lines, strict=True):
        (folder / f"ml.{part}.inter").write_text(f"{header}\n{line}\n")
    return folder


def test_a_folder_by_hand(tmp_path):
    content = RecBole().read(make_recbole(tmp_path / "ml"))
    assert raw.rows(content.parts["interactions"].frame) == {
        ("196", "242", 3.0, 881250949),
        ("186", "302", 3.0, 891717742),
        ("196", "B5", 2.5, 891717743),
    }
    assert raw.by_id(content.features["item"]) == {
        "242": [0.5, -1, np.float32(0.002)],
        "B5": [1, 2, 3],
        "7": None,
    }
    assert content.sources == {"interactions": tmp_path / "ml" / "ml.inter"}
    assert len(content.warnings) == 1
    assert "ml.itememb: read as the modality 'item'" in content.warnings[0]


def test_items_by_hand(tmp_path):
    items = RecBole().read_items(make_recbole(tmp_path / "ml"))
    assert items is not None
    assert items.select("item_id", "text", "release_year").rows() == [
        ("242", "Toy Story. Animation Comedy", "1995"),
        ("302", '12" Vinyl', None),
        ("B5", 'The "Quoted" Movie. Crime', "1995"),
    ]
    assert items.columns == ["item_id", "movie_title", "release_year", "class", "text"]
    (tmp_path / "ml" / "ml.item").unlink()
    assert RecBole().read_items(tmp_path / "ml") is None


def test_a_ready_split_and_what_is_not_read(tmp_path):
    source = make_split(tmp_path / "ml")
    (source / "ml.inter").write_text(INTER)
    (source / "ml.user").write_text("user_id:token\tage:token\n196\t7\n")
    content = RecBole().read(source)
    assert {part: raw.rows(table.frame) for part, table in content.parts.items()} == {
        "train": {("196", "242", 3.0, 881250949)},
        "val": {("186", "302", 3.0, 891717742)},
        "test": {("196", "B5", 2.5, 891717743)},
    }
    assert [each.split("/")[-1] for each in content.warnings] == [
        "ml.inter: not read",
        "ml.user: not read",
    ]
    # The file of one part stands for all three.
    assert RecBole().read(source / "ml.valid.inter").split


def test_other_names_of_columns(tmp_path):
    (tmp_path / "yelp.inter").write_text(
        "review_id:token\tuser_id:token\tbusiness_id:token\tstars:float\nr\tu\tb\t5\n"
    )
    with pytest.raises(InputError, match=r"line 1: no column 'item_id:token' \(review_id or busi"):
        RecBole().read(tmp_path)
    (tmp_path / "yelp.inter").write_text("user_id:token\tbusiness_id:token\tstars:float\nu\tb\t5\n")
    content = RecBole().read(tmp_path)
    assert raw.rows(content.parts["interactions"].frame) == {("u", "b")}
    assert content.warnings[0].endswith("yelp.inter: not read: stars:float")


def test_no_other_layout_recognises_it(tmp_path):
    for source in (make_recbole(tmp_path / "ml"), make_split(tmp_path / "split")):
        for made in (source, next(source.glob("*.inter"))):
            found = [name for name in format_names() if find_format(name).recognises(made)]
            assert found == ["recbole"]


@settings(max_examples=60, deadline=None)
@given(content=raw.raw_datasets(rated=True, timed=True, modalities=MODALITIES, ids=IDS))
def test_round_trip(tmp_path_factory, content):
    folder = tmp_path_factory.mktemp("recbole")
    RecBole().write(content, None, folder, "made.v1")
    raw.same(RecBole().read(folder), content, all_items=False)


def first(row):
    return row[0]


# What a line of text may hold, with what separates and quotes.
TEXTS = st.text(string.printable + "\u00e9\u2028", min_size=1).filter(str.strip)


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.tuples(IDS, st.none() | TEXTS, TEXTS), min_size=1, unique_by=lambda r: r[0])
)
def test_items_round_trip(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("recbole")
    items = pl.DataFrame(rows, schema=["item_id", "text", "brand"], orient="row")
    items = items.cast(pl.String)
    content = raw.RawDataset({"interactions": raw.table([("u", "i")])})
    RecBole().write(content, items, folder, "made")
    read = RecBole().read_items(folder)
    assert read is not None
    # The item of the interaction has a line, too, else RecBole would drop the interaction.
    others = [] if "i" in items["item_id"] else [("i", None, None)]
    assert read.rows() == items.rows() + others


def test_files_to_the_letter_and_what_is_told(tmp_path):
    content = raw.RawDataset(
        {"interactions": raw.table([("u", "a"), ("v", "b")], [5.0, 0.5], [12, 13])},
        {
            "image": raw.features({"a": [0.1, 2.0], "c": None}),
            "text": raw.features({"b": [1.0]}),
            "audio": raw.features({"a": [1.0]}),
        },
    )
    content.features["audio"].present[:] = False
    items = pl.DataFrame(
        {"item_id": ["a"], "text": ["two words"], "image": ["/a.png"], "rating": ["9"]}
    )
    notes = RecBole().write(content, items, tmp_path, "made")
    assert (tmp_path / "made.inter").read_text() == (
        "user_id:token\titem_id:token\trating:float\ttimestamp:float\nu\ta\t5.0\t12\nv\tb\t0.5\t13\n"
    )
    assert (tmp_path / "made.imageemb").read_text() == (
        "imageemb_id:token\timageemb:float_seq\na\t0.1 2.0\n"
    )
    assert (
        tmp_path / "made.item"
    ).read_text() == "item_id:token\ttext:token_seq\na\ttwo words\nb\t\nc\t\n"
    assert notes == [
        "audio: left out, for no item has a vector",
        "made.item: has no place for image, rating",
        "in RecBole's configuration: {dataset: made, load_col: {inter: [user_id, item_id, rating,"
        " timestamp], imageemb: [imageemb_id, imageemb], textemb: [textemb_id, textemb]},"
        " additional_feat_suffix: [imageemb, textemb], alias_of_item_id: [imageemb_id,"
        " textemb_id], preload_weight: {imageemb_id: imageemb, textemb_id: textemb}}, and"
        " data_path: the folder above",
    ]


def test_items_that_no_file_has_a_line_of_are_told(tmp_path):
    content = raw.RawDataset(
        {"interactions": raw.table([("u", "a")])}, {"x": raw.features({"a": [1.0], "b": None})}
    )
    notes = RecBole().write(content, None, tmp_path, "made")
    assert notes[0] == "left out 1 items without interactions and vectors"


@pytest.mark.parametrize("id_", ["a\tb", '"a', "None", "a\nb"])
def test_ids_that_recbole_reads_otherwise_are_refused(tmp_path, id_):
    content = raw.RawDataset({"interactions": raw.table([(id_, "a")])})
    with pytest.raises(InputError, match=r"user id .* cannot stand in a RecBole file"):
        RecBole().write(content, None, tmp_path, "made")


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("ml.inter", "item_id:token", "item_id", r"line 1, column 2: 'item_id' is no name and ty"),
        ("ml.inter", "rating:float", "user_id:float", r"line 1, column 3: 'user_id:float' is no"),
        ("ml.inter", "186\t302\t3", "186\t302\tx", r"line 3, column 'rating:float': rating that"),
        ("ml.inter", "186", "", r"ml\.inter, line 3, column 'user_id:token': empty user id"),
        ("ml.itememb", "2e-3", "2e-x", r"line 2, column 'item_emb:float_seq': '2e-x' is no number"),
        ("ml.itememb", "1  2 3", "1 2", r"line 3, column 'item_emb:float_seq': 2 numbers, where 3"),
        ("ml.itememb", "B5", "242", r"line 3, column 'iid:token': id '242' stands in line 2 alre"),
        ("ml.itememb", "iid:token", "iid:float", r"ml\.itememb, line 1: wants one column of ids"),
        ("ml.item", "item_id:token", "x:token", r"ml\.item, line 1: no column 'item_id:token'"),
        ("ml.item", "B5\t", "\t", r"ml\.item, line 4, column 'item_id:token': the id is empty"),
        ("ml.item", '""Quoted""', '"Quoted"', r"ml\.item, line 4, column 1: a quoted value is no"),
    ],
)
def test_what_is_broken_is_named(tmp_path, name, old, new, message):
    source = make_recbole(tmp_path / "ml")
    text = (source / name).read_text()
    assert old in text
    (source / name).write_text(text.replace(old, new, 1))
    read = RecBole().read_items if name == "ml.item" else RecBole().read
    with pytest.raises(InputError, match=message):
        read(source)


def test_which_data_set_and_which_vectors(tmp_path):
    source = make_recbole(tmp_path / "folder")
    (source / "other.inter").write_text(INTER)
    with pytest.raises(InputError, match=r"several data sets \(ml, other\); name the \.inter"):
        RecBole().read(source)
    assert RecBole().read(source / "ml.inter").features
    assert not RecBole().read(source / "other.inter").features
    (source / "ml.item_").write_text(VECTORS)
    (source / "ml.image").write_text(VECTORS)
    assert set(RecBole().read(source / "ml.inter").features) == {"item", "item_", "image"}
    (source / "ml.imageemb").write_text(VECTORS)
    with pytest.raises(InputError, match=r"ml\.imageemb: a second file of vectors for 'image'"):
        RecBole().read(source / "ml.inter")
    with pytest.raises(InputError, match=r"holds no <name>\.inter"):
        RecBole().read(tmp_path)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
@pytest.mark.parametrize("name", ["ml.inter", "ml.item", "ml.itememb"])
def test_a_broken_file_reads_or_is_named(tmp_path_factory, name, data):
    source = make_recbole(tmp_path_factory.mktemp("recbole") / "ml")
    broken.break_lines(source / name, "\t", data)
    read = RecBole().read_items if name == "ml.item" else RecBole().read
    broken.fails_well(lambda: read(source), source / name)


def test_fields_of_the_names_that_have_a_meaning_here(tmp_path):
    (tmp_path / "x.inter").write_text("user_id:token\tasin_id:token\n1\ta\n")
    (tmp_path / "x.item").write_text(
        "asin_id:token\titem_id:float\titem_image:token\timage:token\na\t1\tp\tq\n"
    )
    assert RecBole().read_items(tmp_path).to_dicts() == [
        {"item_id": "a", "item_item_id": "1", "item_image": "p", "item_item_image": "q"}
    ]
