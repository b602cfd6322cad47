import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extract.errors import InputError
from mmssl.data.formats.tables import Tables
from tests.mmssl.data.formats import broken, raw

# Quotes, commas and line breaks may stand in an id; a list of ids has one a line.
ODD_IDS = st.text('ab,"; é\t', min_size=1, max_size=4).filter(str.strip)


@pytest.fixture
def folder(tmp_path, make_store):
    (tmp_path / "interactions.tsv").write_text(
        "user_id\titem_id\trating\ttimestamp\nu\ta\t4.5\t10\nv\tb\t1\t20\n"
    )
    (tmp_path / "items.csv").write_text(
        'item_id,text,image,year\na,"Tea, green",pictures/a.png,1999\nb,,,\n'
    )
    np.save(tmp_path / "audio_feat.npy", np.array([[1.0, 2.0]]))
    (tmp_path / "audio_feat.ids.txt").write_text("b\n")
    (tmp_path / "features").mkdir()
    vectors = np.array([[3.0], [4.0]], dtype=np.float32)
    make_store(tmp_path / "features" / "image", ["a", "b"], vectors, failed="b")
    return tmp_path


def test_a_project_folder_by_hand(folder):
    assert Tables().recognises(folder)
    content = Tables().read(folder)
    frame = content.parts["interactions"].frame
    assert raw.rows(frame) == {("u", "a", 4.5, 10), ("v", "b", 1.0, 20)}
    assert raw.by_id(content.features["audio"]) == {"b": [1, 2]}
    assert raw.by_id(content.features["image"]) == {"a": [3], "b": None}
    assert content.features["image"].encoder == "melstats:64"
    assert Tables().read_items(folder).rows(named=True) == [
        {
            "item_id": "a",
            "text": "Tea, green",
            "image": str(folder.resolve() / "pictures/a.png"),
            "year": "1999",
        },
        {"item_id": "b", "text": None, "image": None, "year": None},
    ]


@settings(max_examples=40, deadline=None)
@given(content=raw.raw_datasets(rated=True, timed=True, ids=ODD_IDS))
def test_round_trip(tmp_path_factory, content):
    folder = tmp_path_factory.mktemp("tables")
    assert Tables().write(content, None, folder, "made") == []
    raw.same(Tables().read(folder), content)
    assert Tables().read_items(folder) is None


def test_items_come_back_and_media_stay_where_they_are(folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    items = Tables().read_items(folder)
    notes = Tables().write(Tables().read(folder), items, out, "made")
    assert Tables().read_items(out).equals(items)
    assert any(f"--media-root {folder.resolve() / 'pictures'}" in note for note in notes)


def test_a_split_needs_all_three_parts(tmp_path):
    for part in ("train", "val"):
        (tmp_path / f"{part}.csv").write_text("user,item\nu,a\n")
    assert not Tables().recognises(tmp_path)
    with pytest.raises(InputError, match=r"neither interactions\.csv nor train\.csv"):
        Tables().read(tmp_path)
    (tmp_path / "test.csv").write_text("user,item\nu,b\n")
    assert list(Tables().read(tmp_path).parts) == ["train", "val", "test"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("interactions.tsv", "user_id\titem_id\nu\ta\tx\n", r"interactions\.tsv, line 2"),
        (
            "interactions.tsv",
            "user_id\titem_id\trating\nu\ta\tx\n",
            r"row 1, column 'rating': rating that is not",
        ),
        ("interactions.tsv", "who\titem_id\nu\ta\n", "no user column"),
        ("items.csv", "name\na\n", "none of the columns item_id, id, item"),
        ("items.csv", "item_id,text\na,\n,x\n", r"row 2 .*no item id in column 'item_id'"),
        ("items.csv", "item_id\na\na\n", r"item id 'a' stands in rows 1 and 2"),
    ],
)
def test_what_is_broken_is_named(folder, name, text, message):
    (folder / name).write_text(text)
    with pytest.raises(InputError, match=message):
        Tables().read_items(folder) if name == "items.csv" else Tables().read(folder)


def test_types_of_parquet_become_text(tmp_path):
    (tmp_path / "interactions.csv").write_text("user,item\nu,1\n")
    frame = pl.DataFrame({"item_id": [1, 2], "price": [1.5, None], "tags": [["x"], None]})
    frame.write_parquet(tmp_path / "items.parquet")
    assert Tables().read_items(tmp_path).rows(named=True) == [
        {"item_id": "1", "price": "1.5"},
        {"item_id": "2", "price": None},
    ]


def test_a_url_of_a_medium_stays_one(tmp_path):
    source, out = tmp_path / "source", tmp_path / "out"
    source.mkdir()
    (source / "interactions.csv").write_text("user_id,item_id\n1,a\n1,b\n")
    (source / "items.csv").write_text("item_id,image\na,s3://bucket/a.jpg\nb,pictures/b.jpg\n")
    items = Tables().read_items(source)
    here = source.resolve() / "pictures"
    assert items["image"].to_list() == ["s3://bucket/a.jpg", str(here / "b.jpg")]
    out.mkdir()
    notes = Tables().write(Tables().read(source), items, out, "out")
    assert notes[0].endswith(f" --media-root {here}")


@settings(max_examples=60, deadline=None)
@given(draw=st.data(), name=st.sampled_from(["interactions.csv", "items.csv"]))
def test_a_broken_table_is_one_line_that_names_it(tmp_path_factory, draw, name):
    source = tmp_path_factory.mktemp("broken")
    rows = [f"u{n},i{n % 3},{n % 5},{n}" for n in range(5)]
    (source / "interactions.csv").write_text(
        "\n".join(["user_id,item_id,rating,timestamp", *rows]) + "\n"
    )
    (source / "items.csv").write_text("item_id,text\ni0,Tea\ni1,Cake\ni2,Jam\n")
    broken.break_lines(source / name, ",", draw)

    def read():
        Tables().read(source)
        Tables().read_items(source)

    broken.fails_well(read, source / name, lines=False)
