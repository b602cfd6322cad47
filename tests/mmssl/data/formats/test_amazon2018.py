import ast
import gzip
import json
import re
import subprocess

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extract.config import ExtractionConfig
from extract.errors import InputError
from extract.item_table import read_catalog
from mmssl.data.convert import convert
from mmssl.data.formats.amazon2018 import Amazon2018
from mmssl.data.formats.registry import find_format, format_names
from mmssl.data.ids import IdMap
from mmssl.recommend.caps import read_caps
from tests.mmssl.data.formats import raw

REVIEWS = [
    # As on the data set's page: the image, the votes and the style are there or not.
    {
        "overall": 5.0,
        "vote": "25",
        "verified": True,
        "reviewTime": "12 19, 2008",
        "reviewerID": "APYOBQE6M18AA",
        "asin": "0615391206",
        "style": {"Color:": " Black"},
        "reviewerName": "Martin Schwartz",
        "reviewText": 'My daughter said "yes" \ud83d\ude00',
        "summary": "Best Price",
        "unixReviewTime": 1382140800,
    },
    {
        "overall": 2.0,
        "verified": False,
        "reviewerID": "A1JVQTAGHYOL7F",
        "asin": "B000052XZC",
        "reviewText": "half \ud83d of a pair",
        "unixReviewTime": 1369353600,
    },
]
META = [
    {
        "category": ["Toys &amp; Games", "Games", "Board Games"],
        "tech1": "",
        "description": ["<b>Two</b> players.<br>Fun<script>var a = 1 < 2;</script>", "", "More"],
        "title": "Reversi &amp; Go",
        "also_buy": ["B000052XZC"],
        "brand": "Fidelity\n\n Electronics",
        "feature": ["For <i>all</i> ages", "2 < 3"],
        "rank": [">#2,623,937 in Toys &amp; Games"],
        "main_cat": '<img src="logo.png" class="nav-categ-image" alt="AMAZON FASHION"/>',
        "similar_item": "",
        "price": "$65.00",
        "asin": "0615391206",
        "imageURL": ["https://a.test/I/31n._SS40_.jpg"],
        "imageURLHighRes": ["https://a.test/I/31n.jpg", "https://a.test/I/32n.jpg"],
    },
    {
        "category": [],
        "description": "one text",
        "title": "var aPageStart = (new Date()).getTime();",
        "brand": "",
        "asin": "B000052XZC",
        "imageURL": ["https://a.test/I/41n._SS40_.jpg"],
        "imageURLHighRes": [],
    },
    {"asin": "0615391206", "title": "Again"},
]
WANTED = {
    ("APYOBQE6M18AA", "0615391206", 5.0, 1382140800),
    ("A1JVQTAGHYOL7F", "B000052XZC", 2.0, 1369353600),
}


def lines(objects):
    return "".join(f"{json.dumps(each)}\n" for each in objects)


def make(folder, packed=False):
    folder.mkdir()
    for name, objects in (("Toys_5.json", REVIEWS), ("meta_Toys.json", META)):
        if packed:
            (folder / f"{name}.gz").write_bytes(gzip.compress(lines(objects).encode()))
        else:
            (folder / name).write_text(lines(objects))
    return folder


@pytest.mark.parametrize("packed", [False, True])
def test_folder_by_hand(tmp_path, packed):
    source = make(tmp_path / "toys", packed)
    recognised = [name for name in format_names() if find_format(name).recognises(source)]
    assert recognised == ["amazon2018"]
    content = Amazon2018().read(source)
    assert raw.rows(content.parts["interactions"].frame) == WANTED
    assert content.parts["interactions"].frame["row"].to_list() == [1, 2]
    (source / "images").mkdir()
    (source / "images" / "B000052XZC.png").write_bytes(b"")
    assert Amazon2018().read_items(source).to_dicts() == [
        {
            "item_id": "0615391206",
            "text": "Reversi & Go. Fidelity Electronics. Toys & Games > Games > Board Games."
            " For all ages | 2 < 3. Two players. Fun More",
            "image": None,
            "title": "Reversi & Go",
            "brand": "Fidelity Electronics",
            "main_category": "AMAZON FASHION",
            "category": "Board Games",
            "categories": "Toys & Games > Games > Board Games",
            "features": "For all ages | 2 < 3",
            "description": "Two players. Fun More",
            "image_url": "https://a.test/I/31n.jpg",
        },
        {
            "item_id": "B000052XZC",
            "text": "one text",
            "image": str(source / "images" / "B000052XZC.png"),
            "title": None,
            "brand": None,
            "main_category": None,
            "category": None,
            "categories": None,
            "features": None,
            "description": "one text",
            "image_url": "https://a.test/I/41n._SS40_.jpg",
        },
    ]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("Toys.csv", "0615391206,APYOBQE6M18AA,5.0,1382140800\n"),
        ("ratings_Toys.csv", "APYOBQE6M18AA,0615391206,5.0,1382140800\n"),
    ],
)
def test_ratings_alone_have_the_item_first_and_those_of_2014_the_user(tmp_path, name, text):
    (tmp_path / name).write_text(text + text.replace("5.0", "1.0"))
    assert Amazon2018().recognises(tmp_path)
    frame = Amazon2018().read(tmp_path).parts["interactions"].frame
    user_item = ("APYOBQE6M18AA", "0615391206")
    assert raw.rows(frame) == {(*user_item, 5.0, 1382140800), (*user_item, 1.0, 1382140800)}


def test_2014s_reviews_are_read_and_its_metadata_after_the_command_that_is_named(tmp_path):
    (tmp_path / "reviews_Toys_5.json").write_text(lines(REVIEWS))
    meta = {
        "asin": "B000052XZC",
        "title": 'It\'s "new"',
        "categories": [["Toys", "Games"]],
        "imUrl": "http://a.test/51.jpg",
        "description": "Good",
    }
    loose = tmp_path / "meta_Toys.json.gz"
    loose.write_bytes(gzip.compress(f"{meta!r}\n".encode()))
    assert raw.rows(Amazon2018().read(tmp_path).parts["interactions"].frame) == WANTED
    with pytest.raises(
        InputError, match=r"meta_Toys\.json\.gz, line 1, column 2: not JSON"
    ) as told:
        Amazon2018().read_items(tmp_path)
    command = re.search("zcat .*", str(told.value))[0]
    subprocess.run(["sh", "-c", command], cwd=tmp_path, check=True)
    assert ast.literal_eval(repr(meta)) == json.loads((tmp_path / "meta_Toys.json").read_text())
    items = Amazon2018().read_items(tmp_path)
    assert items.row(0, named=True)["categories"] == "Toys > Games"
    assert items.row(0, named=True)["image_url"] == "http://a.test/51.jpg"
    assert items.row(0, named=True)["title"] == 'It\'s "new"'


def test_of_several_files_one_is_named(tmp_path):
    source = make(tmp_path / "toys")
    (source / "Books.json").write_text(lines(REVIEWS[:1]))
    with pytest.raises(InputError, match=r"may be them: Books\.json, Toys_5\.json; name one"):
        Amazon2018().read(source)
    assert len(Amazon2018().read(source / "Books.json").parts["interactions"].frame) == 1
    assert Amazon2018().read_items(source / "Books.json") is None
    assert Amazon2018().read_items(source / "Toys_5.json").height == 2
    with pytest.raises(InputError, match="what is known of the items"):
        Amazon2018().read(source / "meta_Toys.json")


ITEMS = st.fixed_dictionaries(
    {},
    optional={
        "title": st.none() | st.sampled_from(["a < b", "Tom &amp; Jerry", "<b>x</b>", "A B", "&"]),
        "brand": st.none() | st.just("x <y> z"),
        "categories": st.none() | st.sampled_from(["A", "A > B <i> C", "A & B > C"]),
        "features": st.none() | st.sampled_from(["f", "f <x | y> g", "R&D | &lt | a"]),
        "description": st.none() | st.just("1 < 2 && <p>"),
        "image_url": st.none() | st.just("https://a.test/1.jpg"),
    },
)


@pytest.mark.parametrize("name", ["amazon2018", "amazon2023"])
@settings(max_examples=25, deadline=None)
@given(
    content=st.booleans().flatmap(
        lambda both: raw.raw_datasets(split=False, rated=both, timed=both, modalities=())
    ),
    rows=st.lists(ITEMS, min_size=2, max_size=2),
)
def test_round_trip(tmp_path_factory, name, content, rows):
    folder = tmp_path_factory.mktemp("amazon")
    ids = sorted(content.ids("item"))[:2]
    rows = [{"item_id": id_, **row} for id_, row in zip(ids, rows, strict=False)]
    items = pl.DataFrame(
        rows, schema=dict.fromkeys(("item_id", *(key for row in rows for key in row)), pl.String)
    )
    layout = find_format(name)
    notes = layout.write(content, items, folder, "Toys_5")
    assert [note for note in notes if not note.startswith("timestamps")] == []
    assert layout.recognises(folder)
    raw.same(layout.read(folder), content, features=False)
    read = layout.read_items(folder)
    assert read.select(items.columns).equals(items)


def test_what_is_lost_is_told(tmp_path):
    content = raw.RawDataset(
        {"train": raw.table([("u", "a")]), "val": raw.table([]), "test": raw.table([])},
        {"image": raw.features({"a": [1.0]})},
    )
    items = pl.DataFrame(
        {
            "item_id": ["a"],
            "text": ["b"],
            "title": ["c  d"],
            "year": ["1999"],
            "image": ["/x/a.png"],
        }
    )
    notes = Amazon2018().write(content, items, tmp_path, "toys")
    assert len(notes) == 5
    assert "features, which part of the split" in notes[0]
    assert notes[1] == "left out of what is told of the items: year"
    assert notes[2].startswith("text: of 1 items")
    assert notes[3].startswith("title: of 1 items")
    assert "images/<item id>.jpg" in notes[4]


def test_a_text_without_a_title_is_the_description(tmp_path):
    content = raw.RawDataset({"interactions": raw.table([("u", "a")])})
    items = pl.DataFrame({"item_id": ["a"], "text": ["it says <so>"]})
    assert Amazon2018().write(content, items, tmp_path, "toys") == []
    read = Amazon2018().read_items(tmp_path)
    assert read.select("text", "description").row(0) == ("it says <so>", "it says <so>")


def test_a_name_of_other_files_is_refused(tmp_path):
    content = raw.RawDataset({"interactions": raw.table([("u", "a")])})
    with pytest.raises(InputError, match="'meta_toys' names other ones"):
        Amazon2018().write(content, None, tmp_path, "meta_toys")


def test_converted_to_tables_its_text_and_category_are_columns_that_commands_know(tmp_path):
    source = make(tmp_path / "toys")
    report = convert(source, "tables", tmp_path / "out")
    assert (report.read_as, report.items) == ("amazon2018", 2)
    table = tmp_path / "out" / "items.csv"
    texts = read_catalog(ExtractionConfig(items=table, modality="text", encoder="x", out=tmp_path))
    assert [(item.id, item.text) for item in texts.items(0, 2)][1] == ("B000052XZC", "one text")
    caps = read_caps(["category=1"], table, IdMap(["B000052XZC", "0615391206"]))
    assert caps[0].values.tolist() == [-1, 0]


BREAKS = ["drop a key", "text for a number", "cut", "not UTF-8", "twice", "a list"]


@settings(max_examples=50, deadline=None)
@given(data=st.data(), how=st.sampled_from(BREAKS))
def test_a_broken_file_reads_or_is_named_with_line_and_column(tmp_path_factory, data, how):
    folder = make(tmp_path_factory.mktemp("broken") / "toys")
    name = data.draw(st.sampled_from(["Toys_5.json", "meta_Toys.json"]))
    objects = [dict(each) for each in (META if name.startswith("meta") else REVIEWS)]
    victim = data.draw(st.sampled_from(objects))
    key = data.draw(st.sampled_from(sorted(victim)))
    if how == "drop a key":
        del victim[key]
    elif how == "text for a number":
        victim[key] = data.draw(st.sampled_from(["x", None, {"a": 1}, float("nan"), "4.0", True]))
    elif how == "a list":
        victim[key] = [[victim[key]], 3]
    text = lines(objects).encode()
    at = data.draw(st.integers(0, len(text) - 1))
    if how == "cut":
        text = text[:at]
    elif how == "not UTF-8":
        text = text[:at] + b"\xff" + text[at:]
    elif how == "twice":
        text = text.replace(b'"asin":', b'"asin": "q", "asin":', 1)
    (folder / name).write_bytes(text)
    assert Amazon2018().recognises(folder)
    told = raw.complaint(lambda: (Amazon2018().read(folder), Amazon2018().read_items(folder)))
    assert re.search(rf"^$|{re.escape(name)}(: the file is empty|, line \d+, column )", told)


@pytest.mark.parametrize(
    ("name", "latest", "told"),
    [
        ("amazon2018", 1_500_000_000, False),
        ("amazon2018", 1_500_000_000_000, True),
        ("amazon2023", 1_500_000_000_000, False),
        ("amazon2023", 1_500_000_000, True),
    ],
)
def test_timestamps_of_another_unit_are_told(tmp_path, name, latest, told):
    times = raw.table([("u", "a"), ("u", "b")], timestamps=[0, latest])
    content = raw.RawDataset({"interactions": times})
    notes = find_format(name).write(content, None, tmp_path, "Toys")
    assert [
        note.startswith(f"timestamps: written as they are, up to {latest}") for note in notes
    ] == ([True] * told)
