from datetime import UTC, date, datetime

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from extract.errors import InputError
from extract.tables import write_table
from mmssl.data.filters import Removed
from mmssl.data.interactions import Columns, read_interactions

# No NUL or lone surrogates (no UTF-8), no carriage return (CSV readers normalise it).
words = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=6).filter(
    lambda text: text.strip()
)


@pytest.fixture
def table(tmp_path):
    def write(text, name="seen.csv"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


def read(path, **options):
    return read_interactions(path, **options).frame


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "parquet"])
@given(rows=st.lists(st.tuples(words, words), min_size=1, max_size=8))
def test_any_ids_survive_any_kind_of_table(tmp_path_factory, suffix, rows):
    path = tmp_path_factory.mktemp("t") / f"seen.{suffix}"
    write_table(pl.DataFrame(rows, schema=["userId", "itemId"], orient="row"), path)
    frame = read(path)
    assert frame.select("user", "item").rows() == rows
    assert frame["row"].to_list() == list(range(1, len(rows) + 1))


def test_leading_zeros_and_types_of_ids(tmp_path, table):
    assert read(table("user,item\n007,1.0\n"))["user"].to_list() == ["007"]
    path = tmp_path / "typed.parquet"
    pl.DataFrame({"user": [1, 2], "item": [3.0, 4.0]}).write_parquet(path)
    assert read(path).select("user", "item").rows() == [("1", "3"), ("2", "4")]


def test_columns_by_position_need_no_header(table):
    path = table("1,x,4.5,100\n2,y,3,200\n")
    columns = Columns.parse("user=0,item=1,rating=2,timestamp=3")
    frame = read(path, columns=columns)
    assert frame.rows() == [("1", "x", 4.5, 100, 1), ("2", "y", 3.0, 200, 2)]


def test_columns_by_position_with_a_header_are_caught_or_declared(table):
    path = table("user,item\n1,x\n")
    with pytest.raises(InputError, match="row 1 is a header, not an interaction; add --header"):
        read(path, columns=Columns.parse("user=0,item=1"))
    frame = read(path, columns=Columns.parse("user=1,item=0"), header=True)
    assert frame.select("user", "item").rows() == [("x", "1")]


def test_columns_by_name_leave_the_others_unread(table):
    path = table("who,what,rating,timestamp\na,x,good,never\n")
    assert read(path, columns=Columns.parse("user=who,item=what")).columns == [
        "user",
        "item",
        "row",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("user", "'user' is not of the form user=NAME"),
        ("user=,item=i", "'user=' is not of the form"),
        ("user=u", "item=NAME is missing"),
        ("usr=u,item=i", r"no such column 'usr' \(did you mean 'user'\?\)"),
        ("user=u,user=v,item=i", "'user' is named twice"),
    ],
)
def test_a_wrong_columns_option_says_what_is_wrong(text, message):
    with pytest.raises(InputError, match=message):
        Columns.parse(text)


def test_integer_times_stay_exact_and_dates_become_microseconds(table):
    nanoseconds = 1_700_000_000_123_456_789
    frame = read(table(f"user,item,timestamp\n1,1,{nanoseconds}\n1,2,{nanoseconds + 1}\n"))
    assert frame["timestamp"].to_list() == [nanoseconds, nanoseconds + 1]
    assert read(table("user,item,timestamp\n1,1,1.5\n1,2,2\n"))["timestamp"].to_list() == [1.5, 2]
    frame = read(
        table(
            "user,item,timestamp\n1,1,2024-03-01\n1,2,2024-03-01T12:00:00.25\n"
            "1,3,2024-03-01 12:00:00+02:00\n1,4,1960-01-01T00:00:00Z\n"
        )
    )
    expected = [
        datetime(2024, 3, 1, tzinfo=UTC),
        datetime(2024, 3, 1, 12, 0, 0, 250_000, tzinfo=UTC),
        datetime(2024, 3, 1, 10, tzinfo=UTC),
        datetime(1960, 1, 1, tzinfo=UTC),
    ]
    assert frame["timestamp"].to_list() == [round(at.timestamp() * 1e6) for at in expected]


def test_times_of_parquet_types(tmp_path):
    moments = [datetime(2024, 1, 1), datetime(2024, 1, 2)]
    for name, values in (("ms", pl.Series(moments, dtype=pl.Datetime("ms"))), ("d", moments)):
        path = tmp_path / f"{name}.parquet"
        column = values if name == "ms" else [date(2024, 1, 1), date(2024, 1, 2)]
        pl.DataFrame({"user": ["a", "b"], "item": ["x", "y"], "timestamp": column}).write_parquet(
            path
        )
        assert read(path)["timestamp"].to_list() == [
            1_704_067_200_000_000,
            1_704_153_600_000_000,
        ]


def test_mmssl_json_is_read_like_a_table(table):
    frame = read(table('{"3": [5, 6], "4": []}', "train.json"))
    assert frame.rows() == [("3", "5", 1), ("3", "6", 2)]


INVALID = [
    ("user,item\n1,1\n,2\n", 2, "empty user id (nothing there)"),
    ("user,item\n1,1\n2,  \n", 2, "empty item id ('  ')"),
    ("user,item\n1,1\n\n3,3\n", 2, "empty user id (nothing there)"),
    ("user,item,rating\n1,1,5\n1,2,NaN\n", 2, "rating that is not a finite number ('NaN')"),
    ("user,item,rating\n1,1,inf\n1,2,3\n", 1, "rating that is not a finite number ('inf')"),
    ("user,item,rating\n1,1,5\n1,2,good\n", 2, "rating that is not a finite number ('good')"),
    ("user,item,rating\n1,1,5\n1,2,\n", 2, "rating that is not a finite number (nothing there)"),
    ("user,item,timestamp\n1,1,5\n1,2,\n", 2, "timestamp that is neither"),
    ("user,item,timestamp\n1,1,5\n1,2,soon\n", 2, "timestamp that is neither"),
    ("user,item,timestamp\n1,1,5.5\n1,2,nan\n", 2, "timestamp that is neither"),
    ("user,item,timestamp\n1,1,2024-01-01\n1,2,2024-02-30\n", 2, "timestamp that is neither"),
]


@pytest.mark.parametrize(("text", "row", "reason"), INVALID)
def test_an_invalid_row_is_an_error_that_names_file_and_row(table, text, row, reason):
    path = table(text)
    with pytest.raises(InputError) as caught:
        read(path)
    role = next(role for role in ("user", "item", "rating", "timestamp") if role in reason.split())
    assert str(caught.value).startswith(f"{path}, row {row}, column '{role}': {reason}")


@pytest.mark.parametrize(("text", "row", "reason"), INVALID)
def test_an_invalid_row_is_dropped_and_counted_when_asked(table, text, row, reason):
    result = read_interactions(table(text), invalid_rows="drop")
    assert row not in result.frame["row"].to_list()
    assert result.frame.height == text.strip().count("\n") - 1
    (removed,) = result.invalid
    assert removed.interactions == 1
    assert reason.startswith(removed.step) or removed.step.startswith(reason)


def test_rows_invalid_in_two_ways_are_counted_once(table):
    path = table("user,item,rating\n,1,x\n,4,5\n2,2,x\n3,3,1\n")
    result = read_interactions(path, invalid_rows="drop")
    assert result.frame["row"].to_list() == [4]
    assert result.invalid == (
        Removed("empty user id", 2, 0, 2),
        Removed("rating that is not a finite number", 1, 1, 1),
    )


def test_several_invalid_rows_are_counted_in_the_error(table):
    path = table("user,item,rating\n1,1,x\n1,2,y\n1,3,z\n")
    with pytest.raises(
        InputError, match=r"row 1, column 'rating': .* \('x'\), and 2 more such rows; .*--columns"
    ):
        read(path)
    with pytest.raises(InputError, match=r"every row is invalid \(rating that"):
        read(path, invalid_rows="drop")


def test_empty_lines_at_the_end_are_no_rows(table):
    assert read(table("user,item\n1,1\n\n\n")).height == 1


@pytest.mark.parametrize(
    ("name", "text"), [("a.csv", "user,item\n"), ("a.csv", "user,item\n\n\n"), ("a.json", "{}")]
)
def test_a_file_may_hold_no_interactions(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    assert read_interactions(tmp_path / name).frame.select("user", "item", "row").height == 0


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "", "the file is empty"),
        ("a.csv", "usr,item\n1,2\n", r"no user column \(columns: usr, item\)"),
        ("a.csv", "user,user_id,item\n1,2,3\n", "both 'user' and 'user_id' could be the user"),
        ("a.txt", "user,item\n1,2\n", "unknown kind of table"),
        ("a.csv", "user,item\n1,2,3\n", "not readable as csv"),
        ("a.jsonl", '{"user": 1, "item": [2]}', "column 'item' holds List.*ids are text"),
        ("a.jsonl", '{"user": 1.5, "item": 2}', "'user' holds numbers with a fraction"),
        ("a.jsonl", '{"user": 1e20, "item": 2}', "'user' holds 1e.20, too large to be exact"),
        ("a.jsonl", '{"user": 1, "item": 1e300}', "'item' holds 1e.300, too large to be exact"),
        ("a.json", '{"1": ["\\ud800"]}', "no character"),
        ("a.jsonl", '{"user": 1, "item": 2, "rating": [3]}', "'rating' holds List.*not numbers"),
        ("a.jsonl", '{"user": 1, "item": 2, "timestamp": true}', "'timestamp' holds Boolean"),
    ],
)
def test_an_unusable_file_is_named_with_its_fault(table, name, text, message):
    path = table(text, name)
    with pytest.raises(InputError, match=message) as caught:
        read(path)
    assert str(caught.value).startswith(str(path))


def test_absent_columns_are_named(table):
    path = table("user,item,stars\n1,2,3\n")
    with pytest.raises(InputError, match=r"no column 'star' \(did you mean 'stars'\?\)"):
        read(path, columns=Columns.parse("user=user,item=item,rating=star"))
    with pytest.raises(InputError, match="no column at position 3: it has 3 columns"):
        read(path, columns=Columns.parse("user=0,item=3"), header=True)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"gone\.csv: no such file"):
        read(tmp_path / "gone.csv")


def test_plain_days_are_read_as_single_dates_are(tmp_path):
    times = ["2020-02-29", "1969-12-31", "2018-09-20"]
    for texts in (times, [f"{day} 23:53:47" for day in times], [*times, "2018-09-20T01:02:03Z"]):
        path = tmp_path / "x.csv"
        path.write_text("user,item,timestamp\n" + "".join(f"u,i,{text}\n" for text in texts))
        moments = [datetime.fromisoformat(text).replace(tzinfo=UTC) for text in texts]
        assert read_interactions(path).frame["timestamp"].to_list() == [
            round(moment.timestamp()) * 1_000_000 for moment in moments
        ]


@pytest.mark.parametrize("day", ["2019-02-29", "2019-13-01", "2019-1-1", "٢٠١٩-01-01"])
def test_a_day_that_is_none_is_named_among_plain_days(tmp_path, day):
    path = tmp_path / "x.csv"
    path.write_text(f"user,item,timestamp\nu,i,2019-01-01\nu,j,{day}\n", encoding="utf-8")
    with pytest.raises(InputError, match=f"row 2, column 'timestamp': .*{day}"):
        read_interactions(path)


@pytest.mark.parametrize(("mark", "shown"), [(";", "';'"), ("\t", r"'\\t'"), ("|", r"'\|'")])
def test_another_separator_is_recognised(tmp_path, mark, shown):
    path = tmp_path / "likes.csv"
    path.write_text(f"user_id{mark}item_id\nu{mark}i\n")
    with pytest.raises(InputError, match=rf"no user column .* between its values stands {shown}"):
        read_interactions(path)
