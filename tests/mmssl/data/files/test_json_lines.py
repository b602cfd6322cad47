import gzip
import json

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extract.errors import InputError
from mmssl.data.files.json_lines import (
    first_object,
    read_json_lines,
    scan_json_lines,
    write_json_lines,
)

KEYS = {"a": pl.String(), "l": pl.List(pl.String())}
IMAGES = {"im": pl.List(pl.Struct({"large": pl.String(), "thumb": pl.String()}))}


@pytest.fixture
def file(tmp_path):
    def write(text):
        path = tmp_path / "x.jsonl"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ('{"a": "x"}\n{"a": null}\n{}', [("x", None, 1), (None, None, 2), (None, None, 3)]),
        ('\ufeff\n \r\n{"a": "x"}\r\n\n{"a": "y"}\n\n', [("x", None, 3), ("y", None, 5)]),
        (
            '{"a": 4.0}\n{"a": "4.0"}\n{"a": true}',
            [("4", None, 1), ("4.0", None, 2), ("true", None, 3)],
        ),
        ('{"a": 12345678901234567890}', [("12345678901234567890", None, 1)]),
        # As above, but by the standard library, for the half pair that a line of the block holds.
        ('{"a": 4.0, "b": "\\udc00"}\n{"a": true}', [("4", None, 1), ("true", None, 2)]),
        ('{"a": NaN}\n{"a": 1.50}', [(None, None, 1), ("1.5", None, 2)]),
        ('{"a": "q\\ud83dx"}\n{"a": "\\udc00"}', [("q\ufffdx", None, 1), ("\ufffd", None, 2)]),
        ('{"a": "q\\ud83dx"}\n{"a": "y"}', [("q\ufffdx", None, 1), ("y", None, 2)]),
        ('{"a": "\\ud83d\\ude00"}\n{"a": "\\u0000"}', [("\U0001f600", None, 1), ("\0", None, 2)]),
        ('{"a": "[x"}\n{"a": "{y}"}', [("[x", None, 1), ("{y}", None, 2)]),
        ('{"l": ["p", null, 3]}\n{"l": "p"}', [(None, ["p", None, "3"], 1), (None, ["p"], 2)]),
        ('{"l": [["p"], ["q"]]}\n{"l": []}', [(None, ["p", "q"], 1), (None, [], 2)]),
        ('{"b": "a", "c": {"a": 1, "a": 2}, "a": "x"}', [("x", None, 1)]),
    ],
)
def test_what_a_line_may_hold(file, text, rows):
    frame = pl.concat(scan_json_lines(file(text), KEYS))
    assert frame.rows() == rows


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": "x"}\n\n{"a": "x", "a": "y"}', "line 3, column 'a': the key stands twice"),
        ('{"a": null}\n{"a": null, "a": "y"}', "line 2, column 'a': the key stands twice"),
        ('{"a": ["x"]}', "line 1, column 'a': holds a list, where a text should be"),
        ('{"a": "x"}\n{"l": {"x": 1}}', "line 2, column 'l': holds an object"),
        ('{"a": "x"}\n{"a": "x"', r"line 2, column 10: not JSON \(Expecting ',' delimiter\)"),
        ('{"a": "x"} {"a": "y"}', r"line 1, column 12: not JSON \(Extra data\)"),
        ("[1]\n", "line 1, column 1: holds a list; write one JSON object a line"),
        ('{"a": "x"}\n3\n', "line 2, column 1: holds a text or number"),
        ('{"a": "é'.encode() + b'\xff"}', "line 1, column 9: not UTF-8"),
        ("{'a': 'x'}", "line 1, column 2: not JSON but Python's own notation"),
        ('{"b": ' + "[" * 100_000, "line 1, column 1: .*nested too deep"),
        ("\n \n", "the file is empty"),
        ("", "the file is empty"),
    ],
)
def test_what_is_wrong_is_named_with_line_and_column(file, text, message):
    with pytest.raises(InputError, match=rf"x\.jsonl(:|,) {message}"):
        read_json_lines(file(text), KEYS)


def test_objects_in_lists(file):
    path = file(
        '{"im": [{"large": "u", "hi": 1}, {}]}\n{"im": [{"large": "\\udc00"}]}\n{"im": null}'
    )
    assert read_json_lines(path, IMAGES)["im"].to_list() == [
        [{"large": "u", "thumb": None}, {"large": None, "thumb": None}],
        [{"large": "\ufffd", "thumb": None}],
        None,
    ]
    with pytest.raises(InputError, match="line 1, column 'im': holds a text or number, where an o"):
        read_json_lines(file('{"im": ["u"]}'), IMAGES)


def test_a_key_that_is_nowhere(file):
    path = file('\n{"aa": "x"}')
    assert read_json_lines(path, KEYS).columns == ["line"]
    with pytest.raises(
        InputError, match=r"line 2, column 'a': no such key \(did you mean 'aa'\?\)"
    ):
        read_json_lines(path, KEYS, ("a",))


@settings(max_examples=40)
@given(
    values=st.lists(st.none() | st.text('ab"\\\n[{,: é\U0001f600\ud83d', max_size=8), min_size=1),
    block=st.integers(1, 60),
)
def test_blocks_of_any_size_give_what_the_standard_library_reads(tmp_path_factory, values, block):
    path = tmp_path_factory.mktemp("blocks") / "x.jsonl"
    path.write_text("".join(f"{json.dumps({'b': 1, 'a': value})}\n" for value in values))
    read = pl.concat(scan_json_lines(path, {"a": pl.String()}, block_bytes=block))
    wanted = [value and value.replace("\ud83d", "\ufffd") for value in values]
    assert read.rows() == [(value, line) for line, value in enumerate(wanted, start=1)]


def test_a_packed_file_is_unpacked_on_the_way_and_one_cut_short_is_refused(tmp_path):
    path = tmp_path / "x.jsonl.gz"
    data = gzip.compress(b'{"a": "x"}\n' * 1000)
    path.write_bytes(data)
    assert read_json_lines(path, KEYS)["a"].to_list() == ["x"] * 1000
    assert first_object(path) == {"a": "x"}
    for broken in (data[:-12], b"not packed", data[:15]):
        path.write_bytes(broken)
        with pytest.raises(InputError, match=r"x\.jsonl\.gz: not readable"):
            read_json_lines(path, KEYS)
        assert first_object(path) in ({}, {"a": "x"})


def test_a_line_without_end_is_refused_before_it_fills_the_memory(file, monkeypatch):
    monkeypatch.setattr("mmssl.data.files.json_lines._LONGEST_LINE", 1000)
    path = file('{"a": "x"}\n' + " " * 5000)
    with pytest.raises(InputError, match="line 2, column 1000: the line does not end"):
        list(scan_json_lines(path, KEYS, block_bytes=100))


def test_missing_file_and_round_trip(tmp_path):
    with pytest.raises(InputError, match=r"x\.jsonl: no such file"):
        read_json_lines(tmp_path / "x.jsonl", KEYS)
    frame = pl.DataFrame({"a": ["x\n", None], "l": [[], ["é", '"']]})
    write_json_lines(frame, tmp_path / "x.jsonl")
    assert read_json_lines(tmp_path / "x.jsonl", KEYS).drop("line").equals(frame)
