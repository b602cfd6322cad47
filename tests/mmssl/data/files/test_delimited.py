import csv
import gzip
import io

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extract.errors import InputError
from mmssl.data.files.delimited import read_delimited, write_delimited

# Without the separators and line ends that an unquoted file cannot hold.
PLAIN = st.text(
    st.characters(codec="utf-8", exclude_characters="\t\n\r\x1f:\ufeff\x00"), max_size=5
)
ANY = st.text(st.characters(codec="utf-8", exclude_characters="\r\x00\ufeff"), max_size=5)


def tables(values):
    return st.lists(
        st.tuples(values.filter(str.strip), values, values), min_size=1, max_size=6
    ).map(
        lambda rows: pl.DataFrame(
            {name: [row[at] or None for row in rows] for at, name in enumerate("abc")},
            schema=dict.fromkeys("abc", pl.String),
        )
    )


@settings(deadline=None)
@pytest.mark.parametrize("separator", ["\t", "::"])
@pytest.mark.parametrize("header", [True, False])
@given(frame=tables(PLAIN))
def test_what_is_written_is_read(tmp_path_factory, separator, header, frame):
    path = tmp_path_factory.mktemp("delimited") / "x.dat"
    write_delimited(frame, path, separator, header=header)
    read = read_delimited(path, separator, names=None if header else ["a", "b", "c"])
    assert read.frame.equals(frame)
    assert read.rows.to_list() == list(range(1, frame.height + 1))


@settings(deadline=None)
@given(frame=tables(ANY))
def test_quoted_values_are_read_as_python_reads_them(tmp_path_factory, frame):
    path = tmp_path_factory.mktemp("delimited") / "x.csv"
    write_delimited(frame, path, ",", header=True, quoted=True)
    names, *rows = csv.reader(io.StringIO(path.read_bytes().decode(), newline=""))
    read = read_delimited(path, ",", quoted=True)
    assert read.frame.rows() == [tuple(value or None for value in row) for row in rows]
    assert read.frame.columns == names
    assert read.frame.equals(frame)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"a\tb\n1\t2\t3\n", r"line 2, column 3: 3 fields where 2 are wanted"),
        (b"a\tb\n1\t2\nx\t\xff\n", r"line 3, column 2: not UTF-8"),
        (b"a\ta\n", r"line 1, column 2: a second column 'a'"),
        (b"\n\na\tb\n", r"line 1: empty, where the names"),
        (b"", "the file is empty"),
        (b" \n\n", "the file is empty"),
    ],
)
def test_broken_lines_have_a_place(tmp_path, data, message):
    path = tmp_path / "x.inter"
    path.write_bytes(data)
    with pytest.raises(InputError, match=message) as caught:
        read_delimited(path, "\t")
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'a,b\n1,"2\n3,4\n', r"line 2, column 1: a quoted value is not closed"),
        (b'a,b\n"1"x,2\n', r"line 2, column 1: a quoted value is not closed or not separated"),
        (b'a,b\n1,"2\n3"\n4,5,6\n', r"line 4, column 3: 3 fields"),
    ],
)
def test_broken_quotes_have_a_place(tmp_path, data, message):
    path = tmp_path / "x.csv"
    path.write_bytes(data)
    with pytest.raises(InputError, match=message):
        read_delimited(path, ",", quoted=True)


def test_a_value_has_the_line_that_an_editor_shows(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text('id,n\na,1\n\n"b\nb",2\nc,x\n')
    table = read_delimited(path, ",", quoted=True)
    assert table.frame.rows() == [("a", "1"), ("b\nb", "2"), ("c", "x")]
    with pytest.raises(InputError, match=r"x\.csv, line 6, column 'n': not a whole number \('x'\)"):
        table.numbers("n")
    path.write_text("id,n\na,1\n\nc,\n")
    with pytest.raises(InputError, match=r"line 4, column 'n': not a whole number \(nothing there"):
        read_delimited(path, ",").numbers("n")


def test_ids_are_there_and_unique(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("id,n\na,1\nb,1\na,2\n")
    with pytest.raises(InputError, match=r"line 4, column 'id': id 'a' stands in line 2 already"):
        read_delimited(path, ",").unique_ids("id")
    path.write_text("id,n\na,1\n,1\n")
    with pytest.raises(InputError, match=r"line 3, column 'id': the id is empty"):
        read_delimited(path, ",").unique_ids("id")
    with pytest.raises(InputError, match=r"line 1: no column 'idd' \(did you mean 'id'\?\)"):
        read_delimited(path, ",").unique_ids("idd")


def test_interactions_name_line_and_column(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("who,what,stars\nu,i,4.5\nv,j,good\n")
    roles = {"user": "who", "item": "what", "rating": "stars"}
    table = read_delimited(path, ",")
    with pytest.raises(InputError, match=r"line 3, column 'stars': rating that is not .*'good'"):
        table.interactions(roles)
    kept = table.interactions(roles, "drop")
    assert kept.frame.select("user", "item", "rating").rows() == [("u", "i", 4.5)]
    assert [step.interactions for step in kept.invalid] == [1]


def test_columns_are_kept_as_asked_for(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("a,b,c\n1,2,3\n,5,\n")
    table = read_delimited(path, ",", columns=["c", "a", "z"])
    assert table.frame.columns == ["a", "c"]
    # A record is one even where only values that are left out stand in it.
    assert table.frame.rows() == [("1", "3"), (None, None)]


def test_packed_and_encoded_files(tmp_path):
    path = tmp_path / "x.dat.gz"
    path.write_bytes(gzip.compress("\ufeffa::b\n1::é\n".encode()))
    assert read_delimited(path, "::").frame.rows() == [("1", "é")]
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(InputError, match="not readable"):
        read_delimited(path, "::")
    latin = tmp_path / "x.dat"
    latin.write_bytes("1::Amélie\n".encode("latin-1"))
    names = ["id", "title"]
    assert (
        read_delimited(latin, "::", names=names, encoding="latin-1").frame["title"][0] == "Amélie"
    )
    with pytest.raises(InputError, match=r"line 1, column 2: not UTF-8"):
        read_delimited(latin, "::", names=names)


def test_fewer_fields_are_nothing_there(tmp_path):
    path = tmp_path / "x.tsv"
    path.write_text("u\ti\nv\tj\t3\n")
    assert read_delimited(path, "\t", names=["user", "item", "rating"]).frame.rows() == [
        ("u", "i", None),
        ("v", "j", "3"),
    ]


def test_what_cannot_be_written_without_quotes_is_refused(tmp_path):
    frame = pl.DataFrame({"id": ["a\tb"]})
    with pytest.raises(InputError, match=r"x\.inter: id 'a\\tb' cannot stand in it"):
        write_delimited(frame, tmp_path / "x.inter", "\t", header=True)
    assert not (tmp_path / "x.inter").exists()
