import json
import re
import sqlite3

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from extract import item_table
from extract.catalog import Item
from extract.config import ExtractionConfig
from extract.errors import InputError
from extract.item_table import parse_template, read_catalog, read_item_ids
from extract.tables import scan_table, write_table


def catalog(items, modality="text", **options):
    return read_catalog(ExtractionConfig(items=items, modality=modality, out="unused", **options))


def texts(items, **options) -> dict[str, str | None]:
    found = catalog(items, **options)
    return {item.id: item.text for item in found.items(0, len(found))}


def refusal(items, modality="text", **options) -> str:
    with pytest.raises(InputError) as error:
        catalog(items, modality, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


ODD_IDS = ["a.b.png", "x/y/z", "../up", "猫 1", "قطة", "with space ", "007", "7", "NULL", "Ω\u0301"]


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_every_kind_of_table_gives_the_same_rows(tmp_path, suffix):
    path = tmp_path / f"items{suffix}"
    wanted = {name: f"text {n}" for n, name in enumerate(ODD_IDS)}
    write_table(pl.DataFrame({"item_id": list(wanted), "text": list(wanted.values())}), path)
    assert texts(path) == wanted


def test_integer_ids_of_jsonl_and_parquet_become_text(tmp_path):
    frame = pl.DataFrame({"id": [7, 70], "text": ["a", "b"]})
    for suffix in (".jsonl", ".parquet"):
        write_table(frame, tmp_path / f"items{suffix}")
        assert texts(tmp_path / f"items{suffix}") == {"7": "a", "70": "b"}


@pytest.mark.parametrize("dtype", [pl.Float64, pl.List(pl.Int64)])
def test_ids_that_are_neither_text_nor_integers_are_refused(tmp_path, dtype):
    value = [1] if dtype == pl.List(pl.Int64) else 1.5
    frame = pl.DataFrame({"id": [value], "text": ["a"]}, schema={"id": dtype, "text": pl.String})
    frame.write_parquet(tmp_path / "items.parquet")
    assert "item ids are text or integers" in refusal(tmp_path / "items.parquet")


def test_a_slice_holds_the_tables_rows_in_order(write_items):
    path = write_items(["id", "text"], [[f"i{n}", f"t{n}"] for n in range(10)])
    assert catalog(path).items(3, 5) == [Item("i3", None, "t3"), Item("i4", None, "t4")]
    assert [item.id for item in catalog(path).items(8, 10)] == ["i8", "i9"]


@pytest.mark.parametrize(
    ("modality", "columns", "taken"),
    [
        ("image", ["item_id", "image_path", "image"], "image"),
        ("image", ["item", "image_path"], "image_path"),
        ("audio", ["id", "text", "audio"], "audio"),
        ("text", ["id", "title", "description"], "description"),
    ],
)
def test_the_usual_column_of_the_modality_is_taken_and_named(write_items, modality, columns, taken):
    found = catalog(write_items(columns, [columns]), modality)
    item = found.items(0, 1)[0]
    assert (item.path or item.text) == taken
    assert found.source == f"column {taken!r}"


def test_columns_can_be_named(write_items):
    path = write_items(["asin", "id", "photo", "image"], [["A", "1", "p.png", "i.png"]])
    found = catalog(path, "image", column="photo", id_column="asin")
    assert found.items(0, 1) == [Item("A", "p.png", None)]


def test_an_unknown_column_is_named_with_the_nearest(write_items):
    path = write_items(["item_id", "title"], [["1", "a"]])
    assert "no column 'titel'" in refusal(path, column="titel")
    assert "did you mean 'title'" in refusal(path, column="titel")
    assert "did you mean 'title'" in refusal(path, text_template="{titles}!")
    assert "did you mean 'item_id'" in refusal(path, id_column="item-id")


def test_without_a_usual_column_the_message_lists_what_there_is(write_items):
    path = write_items(["item_id", "photo"], [["1", "a"]])
    message = refusal(path, "image")
    assert "--column" in message
    assert "item_id, photo" in message
    assert "--id-column" in refusal(write_items(["sku", "text"], [["1", "a"]]))


def test_a_template_joins_columns_and_empty_cells_give_nothing(write_items):
    rows = [["1", "Cat", "Purrs"], ["2", "Cat", None], ["3", None, "Purrs"], ["4", None, None]]
    path = write_items(["id", "title", "what it does"], rows)
    assert texts(path, text_template="{title}. {what it does}{{!}}") == {
        "1": "Cat. Purrs{!}",
        "2": "Cat. {!}",
        "3": ". Purrs{!}",
        "4": None,  # nothing but the template's own words is no text
    }


def test_a_template_takes_numbers_of_typed_tables(tmp_path):
    write_table(pl.DataFrame({"id": ["a"], "year": [1999]}), tmp_path / "items.parquet")
    assert texts(tmp_path / "items.parquet", text_template="of {year}") == {"a": "of 1999"}


@pytest.mark.parametrize("template", ["", "no column", "{", "{}", "{title!r}", "{title:>9}", "a}"])
def test_a_bad_template_is_refused(write_items, template):
    path = write_items(["id", "title"], [["1", "a"]])
    assert "text template" in refusal(path, text_template=template)


def test_a_template_never_reaches_into_objects(write_items):
    path = write_items(["id", "title"], [["1", "a"]])
    assert "no column 'title.__class__'" in refusal(path, text_template="{title.__class__}")


@given(st.lists(st.tuples(st.text(), st.text(min_size=1)), min_size=1))
def test_parsing_undoes_writing_a_template(pieces):
    # Column names with braces, conversions or formats cannot be written in a template.
    pieces = [(text, re.sub(r"[{}!:\[\]]", "_", column)) for text, column in pieces]
    template = "".join(
        text.replace("{", "{{").replace("}", "}}") + "{" + column + "}" for text, column in pieces
    )
    joined = "".join(text + f"<{column}>" for text, column in pieces)
    parsed = parse_template(template)
    assert "".join(text + (f"<{column}>" if column else "") for text, column in parsed) == joined


def test_paths_of_spaces_and_empty_cells_are_missing(write_items):
    path = write_items(["id", "image"], [["1", "a.png"], ["2", None], ["3", "  "]])
    assert [item.path for item in catalog(path, "image").items(0, 3)] == ["a.png", None, None]


@pytest.mark.parametrize(("suffix", "note"), [(".csv", " (header not counted)"), (".jsonl", "")])
def test_duplicate_ids_name_the_file_and_both_rows(tmp_path, suffix, note):
    path = tmp_path / f"items{suffix}"
    ids = ["x", "a.b", "c", "a.b", "a.b", "c"]
    write_table(pl.DataFrame({"item_id": ids, "text": ids}), path)
    assert f"{path}: item id 'a.b' stands in rows 2 and 4{note};" in refusal(path)


def test_an_empty_id_names_the_row(write_items):
    for empty in (None, " "):
        path = write_items(["id", "text"], [["1", "a"], ["2", "b"], [empty, "c"]])
        assert f"{path}: row 3 (header not counted) has no item id" in refusal(path)


def test_paths_must_be_text(tmp_path):
    write_table(pl.DataFrame({"id": ["a"], "image": [3]}), tmp_path / "items.parquet")
    assert "not paths as text" in refusal(tmp_path / "items.parquet", "image")
    write_table(pl.DataFrame({"id": ["a"], "text": [["b"]]}), tmp_path / "items.parquet")
    assert "not text or numbers" in refusal(tmp_path / "items.parquet")


def test_tables_that_are_not_there_or_hold_nothing_are_refused(tmp_path, write_items):
    assert "no such file or folder" in refusal(tmp_path / "nowhere")
    assert "holds no items" in refusal(write_items(["id", "text"], []))
    (tmp_path / "items.xlsx").touch()
    assert "unknown kind of table" in refusal(tmp_path / "items.xlsx")


def test_a_folder_gives_the_modalitys_files_by_their_stems(tmp_path):
    for name in ("b.PNG", "a.b.jpg", "猫.png", "note.txt", "sound.wav", ".hidden", "none"):
        (tmp_path / name).touch()
    (tmp_path / "deeper").mkdir()
    found = catalog(tmp_path, "image")
    expected = [("a.b", "a.b.jpg"), ("b", "b.PNG"), ("猫", "猫.png")]
    assert [(item.id, item.path) for item in found.items(0, 9)] == expected
    assert [item.path for item in catalog(tmp_path, "audio").items(0, 9)] == ["sound.wav"]
    assert catalog(tmp_path, "text").items(0, 9) == [Item("note", "note.txt", None)]


def test_a_folder_with_two_files_of_one_stem_is_refused(tmp_path):
    (tmp_path / "a.png").touch()
    (tmp_path / "a.jpg").touch()
    message = refusal(tmp_path, "image")
    assert "'a.jpg' and 'a.png' are both item 'a'" in message


def test_videos_of_a_folder_or_column_have_frames_and_sound(tmp_path, write_items):
    for name in ("b.mp4", "a.webm", "c.MOV", "song.mp3", "memo.m4a", "cover.jpg"):
        (tmp_path / name).touch()
    videos = [item.path for item in catalog(tmp_path, "video").items(0, 9)]
    assert videos == ["a.webm", "b.mp4", "c.MOV"]
    sounds = [item.path for item in catalog(tmp_path, "audio").items(0, 9)]
    assert sounds == ["a.webm", "b.mp4", "c.MOV", "memo.m4a", "song.mp3"]
    table = write_items(["item_id", "video"], [["1", "b.mp4"]])
    for modality in ("video", "audio"):
        found = catalog(table, modality)
        assert (found.items(0, 1)[0].path, found.source) == ("b.mp4", "column 'video'")
    both = write_items(["item_id", "video", "audio"], [["1", "b.mp4", "song.mp3"]], "both.csv")
    assert catalog(both, "audio").items(0, 1)[0].path == "song.mp3"


def test_a_folder_with_a_video_and_a_sound_of_one_stem_is_refused_as_sounds(tmp_path):
    (tmp_path / "a.mp4").touch()
    (tmp_path / "a.wav").touch()
    assert "'a.mp4' and 'a.wav' are both item 'a'" in refusal(tmp_path, "audio")
    assert len(catalog(tmp_path, "video")) == 1


def test_a_folder_without_such_files_or_with_a_tables_option_is_refused(tmp_path):
    assert "no image files" in refusal(tmp_path, "image")
    (tmp_path / "a.png").touch()
    assert "--column acts on a table" in refusal(tmp_path, "image", column="x")
    assert "--id-column acts on a table" in refusal(tmp_path, "image", id_column="x")
    (tmp_path / "a.txt").touch()
    assert "--text-template acts on a table" in refusal(tmp_path, text_template="{x}")


def test_items_are_found_by_id_wherever_they_stand(write_items):
    found = catalog(write_items(["id", "text"], [[f"i{n}", f"t{n}\0"] for n in range(2000)]))
    assert found.find(["i3", "i4"], near=3) == [Item("i3", None, "t3\0"), Item("i4", None, "t4\0")]
    ids = [f"i{n}" for n in range(1999, -1, -1)]
    assert [item.text for item in found.find(ids)] == [f"t{n}\0" for n in range(1999, -1, -1)]
    assert found.find(["i4", "gone", "i3"], near=3) == [
        Item("i4", None, "t4\0"),
        Item("gone", None, None, in_table=False),
        Item("i3", None, "t3\0"),
    ]


names = st.lists(st.sampled_from([f"i{n}" for n in range(12)]), unique=True, min_size=1)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(names, names, st.integers(1, 5))
def test_a_table_is_compared_with_the_ids_of_a_store(write_items, table, store, size):
    found = catalog(write_items(["id", "text"], [[name, "t"] for name in table]))
    blocks = [pl.Series(store[start : start + size]) for start in range(0, len(store), size)]
    for _ in range(2):
        difference = found.difference(lambda: iter(blocks))
        assert list(difference.added) == [name for name in table if name not in store]
        gone = sorted(set(store) - set(table))
        assert (difference.removed, difference.removed_examples) == (len(gone), gone[:3])


def test_a_table_is_read_in_blocks(tmp_path, monkeypatch):
    rows = "".join(f"i{n},a text of some length {n}\n" for n in range(5000))
    (tmp_path / "items.csv").write_text("id,text\n" + rows)
    monkeypatch.setattr(item_table, "scan_table", lambda *args: scan_table(*args, block_bytes=2000))
    found = catalog(tmp_path / "items.csv")
    assert len(found) == 5000
    assert list(found.ids()) == [f"i{n}" for n in range(5000)]
    assert found.find(["i4999"])[0].text == "a text of some length 4999"
    with (tmp_path / "items.csv").open("a") as file:
        file.write("i17,again\n")
    assert "item id 'i17' stands in rows 18 and 5001 (header" in refusal(tmp_path / "items.csv")


def test_no_room_for_the_tables_copy_is_one_message(write_items, monkeypatch):
    found = catalog(write_items(["id", "text"], [["a", "t"]]))

    def connect(*_, **__):
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise error

    monkeypatch.setattr(sqlite3, "connect", connect)
    with pytest.raises(
        InputError, match=r"\(database or disk is full\); make room in .*SQLITE_TMPDIR"
    ):
        found.items(0, 1)


@pytest.mark.parametrize(
    "later",
    [
        [["new", "t"], ["a", "t"], ["b", "t"]],
        [["a", "t"], ["a", "t"]],
        [["a", "t"]],
        [["b", "t"], ["a", "t"]],
    ],
)
def test_a_table_that_changes_between_two_readings_ends_the_run(write_items, later):
    path = write_items(["id", "text"], [["a", "t"], ["b", "t"]])
    found = catalog(path)
    write_items(["id", "text"], later)
    for read in (
        lambda: list(found.ids()),
        lambda: found.items(0, 2),
        lambda: list(found.difference(lambda: iter([pl.Series(["a"])])).added),
    ):
        with pytest.raises(InputError, match="the item table changed while it was being read"):
            read()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(
    st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip),
        st.text(st.characters(exclude_categories=["Cs"])),
        min_size=1,
    )
)
def test_any_ids_and_texts_keep_their_own_rows(tmp_path, rows):
    path = tmp_path / "items.jsonl"
    lines = [json.dumps({"item_id": name, "text": text}) for name, text in rows.items()]
    path.write_text("\n".join(lines), encoding="utf-8")
    found = texts(path)
    assert found == rows
    assert list(found) == list(rows)


def test_item_ids_alone_need_no_medium(write_items) -> None:
    assert read_item_ids(write_items(["price", "id"], [[1, "b"], [2, "a/ü"]])) == ["b", "a/ü"]
    with pytest.raises(
        InputError,
        match=r"none of the columns item_id, id, item; name one with --id-column .*name, price",
    ):
        read_item_ids(write_items(["name", "price"], [["b", 1]]))
    with pytest.raises(InputError, match="the table holds no items"):
        read_item_ids(write_items(["id"], []))
    with pytest.raises(InputError, match="item id 'b' stands in rows 1 and 3"):
        read_item_ids(write_items(["id", "price"], [["b", 1], ["a", 2], ["b", 3]]))


def test_a_number_that_is_none_is_no_text(tmp_path):
    frame = pl.DataFrame({"id": ["a", "b", "c"], "text": [1.5, float("nan"), None]})
    frame.write_parquet(tmp_path / "items.parquet")
    assert texts(tmp_path / "items.parquet") == {"a": "1.5", "b": None, "c": None}
    templated = texts(tmp_path / "items.parquet", text_template="price {text}")
    assert templated == {"a": "price 1.5", "b": None, "c": None}


def test_the_ids_column_of_an_item_table_can_be_named(tmp_path):
    path = tmp_path / "items.csv"
    path.write_text("sku,title\na-1,one\na-2,two\n")
    assert read_item_ids(path, "sku") == ["a-1", "a-2"]
    with pytest.raises(InputError, match="name one with --id-column"):
        read_item_ids(path)
