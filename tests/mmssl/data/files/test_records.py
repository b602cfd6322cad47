import csv
import gzip
import io

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from extract.errors import InputError
from mmssl.data.files import records
from mmssl.data.files.delimited import read_delimited


@pytest.fixture
def block_bytes():
    """Sets how much is read at once, for one test."""
    with pytest.MonkeyPatch.context() as patch:
        yield lambda size: patch.setattr(records, "_BLOCK_BYTES", size)


def by_python(text, width, **options):
    """The records by Python's own reader, all in one piece; None where it refuses."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, **options)
    try:
        found = [[value or None for value in record] for record in reader]
    except csv.Error:
        return None
    if any(len(record) > width for record in found):
        return None
    rows = [tuple(record + [None] * (width - len(record))) for record in found]
    return [(at, row) for at, row in enumerate(rows, start=1) if any(row)]


def by_us(path, quoted, **options):
    try:
        table = read_delimited(path, ",", names=("a", "b", "c"), quoted=quoted, **options)
    except InputError:
        return None
    return list(zip(table.rows, table.frame.rows(), strict=True))


@settings(max_examples=300, deadline=None)
@given(
    text=st.text('ab,,""\né ', max_size=40).filter(str.strip),
    size=st.integers(1, 12),
    quoted=st.booleans(),
    packed=st.booleans(),
)
@example(text='a,12" disc,b\na,"x,\ny",b\n', size=4, quoted=True, packed=False)
@example(text='a,"b\nc","d"\n"e",f,""\n', size=5, quoted=True, packed=False)
@example(text='a,b,"c"\na,"b\nc"\n' * 3, size=8, quoted=True, packed=False)
def test_blocks_of_any_size_give_what_one_piece_gives(tmp_path_factory, text, size, quoted, packed):
    path = tmp_path_factory.mktemp("records") / ("x.csv.gz" if packed else "x.csv")
    path.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    options = {} if quoted else {"quoting": csv.QUOTE_NONE}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(records, "_BLOCK_BYTES", size)
        assert by_us(path, quoted) == by_python(text, 3, **options)


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_lines_are_counted_over_blocks(tmp_path, block_bytes, size):
    block_bytes(size)
    path = tmp_path / "x.csv"
    path.write_bytes(b"a,b\n1,2\n\n3,4\n5,\xff\n")
    with pytest.raises(InputError, match=r"x\.csv, line 5, column 2: not UTF-8"):
        read_delimited(path, ",")
    path.write_bytes(b"a,b\n1,2\n\n3,4\n5,6,7\n")
    with pytest.raises(InputError, match=r"x\.csv, line 5, column 3: 3 fields where 2"):
        read_delimited(path, ",")
    path.write_bytes(b'a,b\n"1\n",2\n3,"4\n5,6\n')
    with pytest.raises(InputError, match=r"x\.csv, line 4, column 1: a quoted value is not closed"):
        read_delimited(path, ",", quoted=True)
    path.write_bytes("a::b\n1::é\n\n3::x\n".encode("iso-8859-1"))
    table = read_delimited(path, "::", encoding="iso-8859-1")
    assert table.frame.rows() == [("1", "é"), ("3", "x")]
    assert table.place("b", table.rows[1]) == "line 4, column 'b'"


def test_a_cut_archive_is_named(tmp_path, block_bytes):
    block_bytes(8)
    path = tmp_path / "x.csv.gz"
    path.write_bytes(gzip.compress(b"a,b\n" * 50)[:-9])
    with pytest.raises(InputError, match=r"x\.csv\.gz: not readable"):
        read_delimited(path, ",", names=("a", "b"))
