import gzip
import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extract.errors import InputError
from mmssl.data.formats.amazon2023 import Amazon2023
from mmssl.data.formats.registry import find_format, format_names
from mmssl.data.prepare import PrepareConfig, prepare
from tests.mmssl.data.formats import raw

USER = "AGKHLEW2SOWHNMFQIJGBECAF7INQ"
REVIEWS = [
    {
        "rating": 5.0,
        "title": "Such a lovely scent",
        "text": "This spray is really nice",
        "images": [],
        "asin": "B00YQ6X8EO",
        "parent_asin": "B00YQ6X8EP",
        "user_id": USER,
        "timestamp": 1588687728923,
        "helpful_vote": 0,
        "verified_purchase": True,
    },
    {
        "rating": 4,
        "title": "rating",
        "text": "",
        "images": [{"small_image_url": "https://a.test/s.jpg"}],
        "asin": "B07TJ8YS35",
        "parent_asin": "B07TJ8YS35",
        "user_id": USER,
        "timestamp": 1588615855070,
        "helpful_vote": 1,
        "verified_purchase": True,
    },
]
META = [
    {
        "main_category": "All Beauty",
        "title": "Howard LC0008",
        "average_rating": 4.8,
        "rating_number": 10,
        "features": ["Will not dry out", "Cleans dust"],
        "description": ["First.", "Second."],
        "price": None,
        "images": [
            {"thumb": "https://a.test/t2", "large": "https://a.test/l2", "variant": "PT01"},
            {
                "thumb": "https://a.test/t1",
                "large": "https://a.test/l1",
                "variant": "MAIN",
                "hi_res": None,
            },
        ],
        "videos": [],
        "store": "Howard Products",
        "categories": ["Beauty", "Care"],
        "details": {"Brand": "Howard"},
        "parent_asin": "B00YQ6X8EP",
        "bought_together": None,
    },
    {
        "main_category": "All Beauty",
        "title": "Yes",
        "features": [],
        "description": [],
        "images": [],
        "store": None,
        "categories": [],
        "details": {},
        "parent_asin": "B07TJ8YS35",
    },
]
HEADER = "user_id,parent_asin,rating,timestamp"


def lines(objects):
    return "".join(f"{json.dumps(each)}\n" for each in objects)


def make(folder):
    folder.mkdir()
    (folder / "Beauty.jsonl.gz").write_bytes(gzip.compress(lines(REVIEWS).encode()))
    (folder / "meta_Beauty.jsonl").write_text(lines(META))
    return folder


def test_folder_by_hand(tmp_path):
    source = make(tmp_path / "beauty")
    recognised = [name for name in format_names() if find_format(name).recognises(source)]
    assert recognised == ["amazon2023"]
    content = Amazon2023().read(source)
    assert raw.rows(content.parts["interactions"].frame) == {
        (USER, "B00YQ6X8EP", 5.0, 1588687728923),
        (USER, "B07TJ8YS35", 4.0, 1588615855070),
    }
    (source / "images").mkdir()
    (source / "images" / "B00YQ6X8EP.jpg").write_bytes(b"")
    first, second = Amazon2023().read_items(source).to_dicts()
    assert first == {
        "item_id": "B00YQ6X8EP",
        "text": "Howard LC0008. Howard Products. Beauty > Care. Will not dry out | Cleans dust."
        " First. Second.",
        "image": str(source / "images" / "B00YQ6X8EP.jpg"),
        "title": "Howard LC0008",
        "brand": "Howard Products",
        "main_category": "All Beauty",
        "category": "Care",
        "categories": "Beauty > Care",
        "features": "Will not dry out | Cleans dust",
        "description": "First. Second.",
        "image_url": "https://a.test/l1",
    }
    assert {key for key, value in second.items() if value is not None} == {
        "item_id",
        "text",
        "title",
        "main_category",
    }


def test_a_ready_split_is_read_from_any_of_its_files(tmp_path):
    (tmp_path / "Beauty.train.csv").write_text(f"{HEADER},history\n{USER},B1,5.0,1,\n")
    (tmp_path / "Beauty.valid.csv.gz").write_bytes(
        gzip.compress(f"{HEADER},history\n{USER},B2,4.0,2,B1\n".encode())
    )
    (tmp_path / "Beauty.test.csv").write_text(f"{HEADER},history\n{USER},B3,3.0,3,B1 B2\n")
    recognised = [name for name in format_names() if find_format(name).recognises(tmp_path)]
    assert recognised == ["amazon2023"]
    for source in (tmp_path, tmp_path / "Beauty.valid.csv.gz"):
        parts = Amazon2023().read(source).parts
        assert {part: raw.rows(table.frame) for part, table in parts.items()} == {
            "train": {(USER, "B1", 5.0, 1)},
            "val": {(USER, "B2", 4.0, 2)},
            "test": {(USER, "B3", 3.0, 3)},
        }
    (tmp_path / "Beauty.jsonl").write_text(lines(REVIEWS))
    with pytest.raises(InputError, match=r"Beauty\.jsonl, Beauty\.test\.csv, .*name one of them"):
        Amazon2023().read(tmp_path)
    (tmp_path / "Beauty.test.csv").unlink()
    with pytest.raises(InputError, match=r"Beauty\.test\.csv: no such file"):
        Amazon2023().read(tmp_path / "Beauty.train.csv")


def test_ratings_alone_become_a_dataset(tmp_path):
    rows = [f"{USER[:-1]}{user},B{item},5.0,{item}" for user in "ABC" for item in range(4)]
    (tmp_path / "Beauty.csv").write_text("\n".join([HEADER, *rows, ""]))
    report = prepare(PrepareConfig(source=tmp_path, out=tmp_path / "out", min_rating=4))
    assert (report.manifest.counts.users, report.manifest.counts.items) == (3, 4)


@settings(max_examples=20, deadline=None)
@given(content=raw.raw_datasets(split=True, rated=True, timed=True, modalities=()))
def test_round_trip_of_a_split(tmp_path_factory, content):
    folder = tmp_path_factory.mktemp("amazon")
    notes = Amazon2023().write(content, None, folder, "Toys")
    assert [note for note in notes if not note.startswith("timestamps")] == []
    assert sorted(path.name for path in folder.iterdir()) == [
        "Toys.test.csv",
        "Toys.train.csv",
        "Toys.valid.csv",
    ]
    raw.same(Amazon2023().read(folder), content, features=False)


def test_an_id_that_the_csv_cannot_hold_is_refused(tmp_path):
    part = raw.table([("u,v", "a")])
    content = raw.RawDataset({"train": part, "val": part, "test": part})
    with pytest.raises(InputError, match="user_id 'u,v' cannot stand in it"):
        Amazon2023().write(content, None, tmp_path, "Toys")


@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_a_broken_csv_reads_or_is_named_with_line_and_column(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("broken")
    rows = [[USER, "B1", "5.0", "10"], [USER, "B2", "4.0", "20"]]
    at, column = data.draw(st.integers(0, 1)), data.draw(st.integers(0, 3))
    how = data.draw(st.sampled_from(["drop", "text", "cut", "not UTF-8", "header twice", "more"]))
    if how == "drop":
        del rows[at][column]
    elif how == "text":
        rows[at][column] = data.draw(st.sampled_from(["x", "", "nan", "é"]))
    elif how == "more":
        rows[at].append("x,y")
    text = "".join(f"{line}\n" for line in [HEADER, *map(",".join, rows)]).encode()
    place = data.draw(st.integers(len(HEADER) + 1, len(text) - 1))
    if how == "cut":
        text = text[:place]
    elif how == "not UTF-8":
        text = text[:place] + b"\xff" + text[place:]
    elif how == "header twice":
        text = f"{HEADER}\n".encode() + text
    (folder / "Toys.csv").write_bytes(text)
    assert Amazon2023().recognises(folder)
    told = raw.complaint(lambda: Amazon2023().read(folder))
    assert re.search(r"^$|Toys\.csv(: no interactions in it|, line \d+, column )", told)


@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_broken_lines_of_json_are_named_with_line_and_column(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("broken")
    objects = [dict(each) for each in META]
    key = data.draw(st.sampled_from(sorted(objects[0])))
    odd = [None, 3, "x", [], [3], ["x", None], {"a": 1}, [{"large": 1}], [["x"]], float("inf")]
    objects[0][key] = data.draw(st.sampled_from(odd))
    text = lines(objects).encode()
    place = data.draw(st.integers(0, len(text)))
    text = (
        text[:place] + data.draw(st.sampled_from([b"", b"\xff", b'"', b"\n", b"{"])) + text[place:]
    )
    (folder / "Toys.jsonl").write_text(lines(REVIEWS))
    (folder / "meta_Toys.jsonl").write_bytes(text)
    told = raw.complaint(lambda: Amazon2023().read_items(folder))
    assert re.search(r"^$|meta_Toys\.jsonl, line \d+, column ", told)
