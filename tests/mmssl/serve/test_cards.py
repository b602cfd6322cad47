"""Cards of items: from tables of several kinds, and from folders."""

import polars as pl
import pytest
from PIL import Image

from extract.errors import InputError
from extract.inspect.items import ItemSource
from mmssl.serve.cards import read_cards
from tests.mmssl.serve.shop import tone


def cards_of(path, ids, **options):
    return read_cards(ItemSource(items=path, **options), ids, 600)


def test_the_columns_of_an_extraction_are_read_as_it_reads_them(tmp_path):
    table = pl.DataFrame(
        {
            "key": [2, 1, 3],
            "cover": ["b.png", None, " "],
            "brand": ["B", "A", None],
            "year": [2001, None, None],
        }
    )
    table.write_parquet(tmp_path / "items.parquet")
    cards = cards_of(
        tmp_path / "items.parquet",
        ["1", "2", "3", "4"],
        id_column="key",
        columns=["image=cover"],
        text_template="{brand} of {year}",
    )
    assert [cards.card(row)["text"] for row in range(4)] == ["A of", "B of 2001", None, None]
    assert [cards.path("image", row) for row in range(4)] == [None, "b.png", None, None]
    assert cards.card(3) == {"id": "4", "title": "4", "text": None, "image": None, "audio": None}


def test_a_folder_s_files_are_media_by_their_stems(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    tone(tmp_path / "a.wav")
    (tmp_path / "a.txt").write_text("\ufeffwords of a")
    (tmp_path / "b.txt").write_bytes(b"\xff\xff")
    cards = cards_of(tmp_path, ["a", "b"])
    assert cards.card(0) == {
        "id": "a",
        "title": "words of a",
        "text": "words of a",
        "image": "/media/thumbnail?item=a",
        "audio": "/media/audio?item=a",
    }
    assert cards.card(1)["text"] is None


def test_a_long_text_is_cut_and_a_title_made_of_it_shorter(tmp_path):
    pl.DataFrame({"id": ["a"], "text": ["word " * 300]}).write_csv(tmp_path / "items.csv")
    card = cards_of(tmp_path / "items.csv", ["a"]).card(0)
    assert len(card["text"]) <= 401
    assert len(card["title"]) <= 80
    assert card["title"].startswith("word word")
    assert card["title"].endswith("…")


def test_a_table_of_ids_alone_is_refused_and_a_named_column_has_to_be_there(tmp_path):
    pl.DataFrame({"id": ["a"], "price": [1]}).write_csv(tmp_path / "items.csv")
    with pytest.raises(InputError, match="none of the columns"):
        cards_of(tmp_path / "items.csv", ["a"])
    with pytest.raises(InputError, match="no column 'sound'"):
        cards_of(tmp_path / "items.csv", ["a"], columns=["image=price", "audio=sound"])


def test_more_items_than_a_block_keep_their_places(tmp_path):
    ids = [f"i{n}" for n in range(20_000)]
    pl.DataFrame({"id": ids[::-1], "text": [f"text of {id_}" for id_ in ids[::-1]]}).write_csv(
        tmp_path / "items.csv"
    )
    cards = cards_of(tmp_path / "items.csv", ids)
    for row in (0, 1, 8191, 8192, 19_999):
        assert cards.card(row)["text"] == f"text of i{row}"
    assert cards.search("of I19999", 5) == [(19_999, "text")]
