import gzip

import pytest

from extract.errors import InputError
from mmssl.data.files.delimited import read_delimited


def test_a_quotation_mark_inside_a_value_is_one(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('id,size\n1,12" disc\n\n2,"7"" of, \nmany"\n3,5" x 6"\n4\n')
    table = read_delimited(path, ",", quoted=True)
    assert table.frame.rows() == [
        ("1", '12" disc'),
        ("2", '7" of, \nmany'),
        ("3", '5" x 6"'),
        ("4", None),
    ]
    assert table.rows.to_list() == [1, 3, 4, 5]
    # The blank line, and the break within a value, count as lines.
    assert table.place("size", 4) == "line 6, column 'size'"


def test_every_second_line_with_an_inch_mark_stays_a_line(tmp_path):
    path = tmp_path / "a.csv.gz"
    lines = [f'{n},{n}" wide,k' for n in range(2000)]
    path.write_bytes(gzip.compress(("a,b,c\n" + "\n".join(lines)).encode()))
    table = read_delimited(path, ",", quoted=True, columns=["b"])
    assert table.frame["b"].to_list() == [f'{n}" wide' for n in range(2000)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('a,b\n1,"x" y\n', r"a\.csv, line 2, column 1: a quoted value is not closed or not"),
        ('a,b\n1,2\n3,"x\n', r"a\.csv, line 3, column 1: a quoted value is not closed or not"),
        ('a,b\n1,2\n"3",4,5\n', r"a\.csv, line 3, column 3: 3 fields where 2 are wanted"),
    ],
)
def test_what_is_wrong_with_quotes_is_named(tmp_path, text, message):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        read_delimited(tmp_path / "a.csv", ",", quoted=True)
