import csv
import io
import json

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extract.errors import InputError
from extract.tables import read_table, scan_table, table_columns, write_table


@pytest.fixture
def table(tmp_path):
    def write(name, content):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def refusal(path, **options) -> str:
    with pytest.raises(InputError) as error:
        read_table(path, **options)
    assert "\n" not in str(error.value)
    return str(error.value).removeprefix(str(path))


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "parquet"])
def test_stars_and_brackets_in_a_name_are_ordinary_characters(tmp_path, suffix):
    for name in ("it1", "it[1]", "it2"):
        write_table(pl.DataFrame({"id": [name]}), tmp_path / f"{name}.{suffix}")
    assert read_table(tmp_path / f"it[1].{suffix}").rows() == [("it[1]",)]
    assert refusal(tmp_path / f"it*.{suffix}") == ": no such file"


@pytest.mark.parametrize("end", ["", "\n", "\n\n", "\r\n\r\n"])
def test_blank_lines_at_the_end_are_no_rows(table, end):
    for name, separator in (("a.csv", ","), ("a.tsv", "\t")):
        path = table(name, f"id{separator}text\n1{separator}2{end}")
        assert read_table(path).rows() == [("1", "2")]
    assert read_table(table("a.csv", f"1,2{end}"), header=False).rows() == [("1", "2")]


def test_an_inch_mark_is_an_ordinary_character(table):
    for name, separator in (("a.csv", ","), ("a.tsv", "\t")):
        content = 'id|text\na|19" tv\nb|20" and 30"\nc|x'.replace("|", separator)
        expected = [("a", '19" tv'), ("b", '20" and 30"'), ("c", "x")]
        assert read_table(table(name, content)).rows() == expected
        frame = read_table(table(name, content), header=False)
        assert (frame.columns, frame.rows()[1:]) == (["0", "1"], expected)
    assert read_table(table("a.tsv", 'id\ttext\na\t"19\n')).rows() == [("a", '"19')]


def test_quotes_around_a_whole_value_are_taken_off(table):
    content = '"id"|"text"\n"a"|"19"" tv"\n""|b'
    for name, separator in (("a.csv", ","), ("a.tsv", "\t")):
        frame = read_table(table(name, content.replace("|", separator)))
        assert frame.columns == ["id", "text"]
        assert frame["text"].to_list() == ['19" tv', "b"]
    # One inch mark must not change how the quoted values beside it are read.
    path = table("a.csv", 'id,text,size\na,"one, two\nthree",19"\nb,,\n')
    assert read_table(path).rows() == [("a", "one, two\nthree", '19"'), ("b", None, None)]


def test_a_bad_line_is_named_with_its_remedy(table):
    for content, says in (
        (
            "id,text\na,b\nc,d,e\n",
            ", line 3: not readable as csv: 3 fields, but the first row has 2; where a",
        ),
        ('id,text\na,b\nc,"d\ne,f\n', ", line 3: a quoted value is not closed"),
        (b"id,text\na,b\nc,\xe9\n", ", line 3: not UTF-8; save the table as UTF-8"),
    ):
        assert refusal(table("a.csv", content)).startswith(says)
    assert ", line 2: not readable as tsv: 3 fields" in refusal(
        table("a.tsv", "id\ttext\na\tb\tc\n")
    )
    for content, says in (
        ('{"id": 1}\n\n{"id":\n', ", line 3: not JSON ("),
        ('{"id": 1}\n[1]\n', ", line 2: holds a list, not an object; write one JSON object"),
        ("\n\n", ": the file is empty"),
        (b'{"id": "\xe9"}\n', ", line 1: not UTF-8"),
    ):
        assert refusal(table("a.jsonl", content)).startswith(says)


def test_a_byte_order_mark_is_no_part_of_the_table(table):
    mark = b"\xef\xbb\xbf"
    assert read_table(table("a.jsonl", mark + b'{"id": "a"}\n')).rows() == [("a",)]
    assert read_table(table("a.csv", mark + b"id\na\n")).columns == ["id"]
    assert read_table(table("b.csv", mark + b'id,x\na,1"2\n')).columns == ["id", "x"]


def test_a_folder_named_like_a_table_is_refused(tmp_path):
    (tmp_path / "a.csv").mkdir()
    assert refusal(tmp_path / "a.csv") == ": no such file"
    assert "not readable" in refusal(tmp_path / f"{'x' * 300}.csv")


cells = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0"), min_size=1).filter(
    lambda text: text.strip('"')
)


@given(st.lists(st.tuples(cells, cells), min_size=1))
def test_what_csv_writes_is_read_again(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("tables") / "a.csv"
    text = io.StringIO(newline="")
    csv.writer(text).writerows([("id", "text"), *rows])
    path.write_bytes(text.getvalue().encode())
    assert read_table(path).rows() == rows


def scanned(path, block_bytes) -> pl.DataFrame:
    blocks = list(scan_table(path, block_bytes=block_bytes))
    assert len({tuple(block.schema.items()) for block in blocks}) == 1
    return pl.concat(blocks)


lines = st.lists(
    st.text(st.sampled_from('ab"\n,\t é'), max_size=6)
    | st.sampled_from(['"a\nb"', '"a,b"', '19"', '""', "a", ",", '"x""y"', "b,c"]),
    min_size=1,
    max_size=8,
)


@settings(deadline=None, max_examples=300)
@given(lines, st.sampled_from(["csv", "tsv"]), st.integers(1, 20), st.sampled_from(["\n", "\r\n"]))
def test_blocks_of_a_table_are_the_table_read_at_once(tmp_path_factory, rows, suffix, size, end):
    path = tmp_path_factory.mktemp("tables") / f"a.{suffix}"
    path.write_bytes(("id,text" + end + end.join(rows)).encode())
    outcomes = []
    for read in (read_table, lambda path: scanned(path, size)):
        try:
            frame = read(path)
            outcomes.append((frame.columns, frame.rows()))
        except InputError as error:
            outcomes.append(str(error))
    assert outcomes[0] == outcomes[1]
    if isinstance(outcomes[0], tuple):
        assert table_columns(path) == outcomes[0][0]


values = st.none() | st.integers(-5, 5) | st.floats(-2, 2) | st.text("ab", max_size=3)


@settings(deadline=None)
@given(st.lists(st.fixed_dictionaries({}, optional={"id": values, "x": values}), min_size=1))
def test_blocks_of_jsonl_have_the_types_of_the_whole(tmp_path_factory, rows):
    rows = [*rows, {"id": "a", "x": 1}]
    path = tmp_path_factory.mktemp("tables") / "a.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)) + "\n")
    whole = read_table(path)
    assert scanned(path, 30).select(whole.columns).equals(whole)
    assert sorted(table_columns(path)) == sorted(whole.columns)


def test_blocks_of_parquet_hold_the_chosen_columns(tmp_path):
    frame = pl.DataFrame({"id": range(1000), "text": [f"text {i}" for i in range(1000)], "x": 1.5})
    frame.write_parquet(tmp_path / "a.parquet", row_group_size=100)
    blocks = list(scan_table(tmp_path / "a.parquet", ["text", "id"], block_bytes=2000))
    assert len(blocks) > 5
    assert pl.concat(blocks).equals(frame.select("text", "id"))


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "parquet"])
def test_what_is_no_such_table_is_refused_block_by_block_too(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    with pytest.raises(InputError, match="no such file"):
        list(scan_table(path))
    path.write_bytes(b"")
    with pytest.raises(InputError, match=r"empty|not readable as parquet"):
        list(scan_table(path))
    path.write_bytes(b"\xff\xfe\n\xff" * 100)
    with pytest.raises(InputError):
        list(scan_table(path, block_bytes=50))


def test_half_a_character_in_a_jsonl_is_named_with_its_line(tmp_path):
    path = tmp_path / "items.jsonl"
    path.write_text('{"text": "x"}\n{"text": "\\udd86 dog"}\n')
    with pytest.raises(InputError, match=r"line 2: half of a character \(\\udd86\)"):
        read_table(path)
    path.write_text('{"text": "\\ud83e\\udd86 whole"}\n')
    assert read_table(path)["text"].to_list() == ["\U0001f986 whole"]
