import polars as pl
import pytest

from extract.errors import InputError
from mmssl.recommend.tables import SCHEMA, open_writer, read_histories, read_ids

FIRST = pl.DataFrame(
    {
        "user_id": ["007", 'a,"b"'],
        "item_id": ["x/1", "ü\n2"],
        "score": [1.5, -0.25],
        "rank": [1, 1],
        "source": ["model", "popularity"],
    },
    schema=SCHEMA,
)
SECOND = FIRST.with_columns(rank=pl.lit(2, pl.Int32))


def read_user_ids(given, known):
    return read_ids(given, known, "user", "--users")


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".tsv", ".jsonl", ".CSV"])
def test_blocks_come_back_as_one_table(tmp_path, suffix):
    path = tmp_path / "new" / f"recs{suffix}"
    with open_writer(path) as write:
        write(FIRST)
        assert not path.exists()
        write(SECOND)
    read = {
        ".parquet": pl.read_parquet,
        ".csv": lambda path: pl.read_csv(path, schema=SCHEMA),
        ".tsv": lambda path: pl.read_csv(path, schema=SCHEMA, separator="\t"),
        ".jsonl": lambda path: pl.read_ndjson(path, schema=SCHEMA),
    }[suffix.lower()]
    assert read(path).equals(pl.concat([FIRST, SECOND]))
    assert [each.name for each in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize(("suffix", "rows"), [(".parquet", 0), (".csv", 0), (".tsv", 0)])
def test_no_recommendation_at_all_is_a_table_with_its_columns(tmp_path, suffix, rows):
    path = tmp_path / f"recs{suffix}"
    with open_writer(path):
        pass
    frame = (
        pl.read_parquet(path)
        if suffix == ".parquet"
        else pl.read_csv(path, separator="\t" if suffix == ".tsv" else ",")
    )
    assert frame.columns == list(SCHEMA)
    assert len(frame) == rows


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_a_run_that_breaks_leaves_the_old_file_alone(tmp_path, suffix):
    path = tmp_path / f"recs{suffix}"
    path.write_text("old")

    def interrupted():
        with open_writer(path) as write:
            write(FIRST)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_places_that_cannot_be_written_are_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.csv").mkdir()
    for path, message in (
        (tmp_path / "recs.xlsx", "unknown kind of table; use one of .csv"),
        (tmp_path / "file" / "recs.csv", "cannot be written"),
        (tmp_path / "folder.csv", "a folder stands where the file should be"),
    ):
        with pytest.raises(InputError, match=message), open_writer(path):
            pass


def test_a_full_disk_is_one_line(tmp_path):
    with (
        pytest.raises(InputError, match=r"cannot be written \(No space left"),
        open_writer(tmp_path / "recs.csv"),
    ):
        raise OSError(28, "No space left on device")
    assert not list(tmp_path.iterdir())


def test_ids_are_separated_by_commas():
    assert read_user_ids("7, 007,ü/1.x", ()) == ["7", "007", "ü/1.x"]


@pytest.mark.parametrize("given", ["", "a,,b", "a,"])
def test_an_empty_id_is_refused_with_its_place(given):
    with pytest.raises(InputError, match=r"--users, place \d: an empty user id"):
        read_user_ids(given, ())


def test_ids_come_from_a_text_file_a_line_each(tmp_path):
    path = tmp_path / "users.txt"
    path.write_text("007\r\n a b \nc,d\n", encoding="utf-8")
    assert read_user_ids(str(path), ()) == ["007", "a b", "c,d"]


@pytest.mark.parametrize("column", ["user", "user_id", "userId"])
def test_ids_come_from_the_user_column_of_a_table(tmp_path, column):
    path = tmp_path / "users.csv"
    path.write_text(f"other,{column}\n1,007\n2,7\n")
    assert read_user_ids(str(path), ()) == ["007", "7"]
    frame = pl.DataFrame({column: [7, 8]})
    frame.write_parquet(tmp_path / "users.parquet")
    assert read_user_ids(str(tmp_path / "users.parquet"), ()) == ["7", "8"]


def test_files_without_usable_ids_are_refused(tmp_path):
    cases = {
        "headless.csv": ("u1\nu2\n", "no column of user ids; expected user or user_id"),
        "hole.csv": ("user_id,x\na,1\n,2\n", "hole.csv, row 2: an empty user id"),
        "hole.txt": ("a\n\nb\n", "hole.txt, line 2: an empty user id"),
        "empty.txt": ("", "no user id in it"),
    }
    for name, (content, message) in cases.items():
        (tmp_path / name).write_text(content)
        with pytest.raises(InputError, match=message):
            read_user_ids(str(tmp_path / name), ())
    (tmp_path / "latin.txt").write_bytes("é".encode("latin-1"))
    with pytest.raises(InputError, match="not readable as UTF-8"):
        read_user_ids(str(tmp_path / "latin.txt"), ())


@pytest.mark.parametrize("name", ["users.txt", "users.csv", "users.parquet"])
def test_a_file_that_is_not_there_is_not_taken_for_an_id(tmp_path, name):
    with pytest.raises(InputError, match="no such file"):
        read_user_ids(str(tmp_path / name), ())


def test_a_list_longer_than_any_file_name_is_a_list():
    assert len(read_user_ids(",".join(f"user{n}" for n in range(10_000)), ())) == 10_000


def test_spaces_belong_to_an_id_that_is_known_with_them(tmp_path):
    known = {"trail ", "a", "a b"}
    assert read_user_ids("trail , a", known) == ["trail ", "a"]
    path = tmp_path / "users.txt"
    path.write_text("trail \n a\na b\n")
    assert read_user_ids(str(path), known) == ["trail ", "a", "a b"]
    # A table is read as prepare reads it: ids as they stand.
    (tmp_path / "users.csv").write_text("user\ntrail \n")
    assert read_user_ids(str(tmp_path / "users.csv"), known) == ["trail "]


def test_a_byte_order_mark_and_unicode_s_other_line_ends_are_no_ends(tmp_path):
    path = tmp_path / "users.txt"
    path.write_bytes("\ufeff007\r\none\u2028id\x85\r\n".encode())
    assert read_user_ids(str(path), {"one\u2028id\x85"}) == ["007", "one\u2028id\x85"]


def test_numbers_with_a_point_are_the_ids_that_prepare_makes_of_them(tmp_path):
    path = tmp_path / "users.parquet"
    pl.DataFrame({"user": [1.0, 12.0]}).write_parquet(path)
    assert read_user_ids(str(path), ()) == ["1", "12"]


@pytest.mark.parametrize(
    ("values", "message"),
    [([[1]], "holds List"), ([{"a": 1}], "holds Struct"), ([1e20], "too large to be exact")],
)
def test_a_column_that_cannot_be_ids_is_refused(tmp_path, values, message):
    path = tmp_path / "users.parquet"
    pl.DataFrame({"user": values}).write_parquet(path)
    with pytest.raises(InputError, match=message):
        read_user_ids(str(path), ())


def test_item_ids_are_read_alike(tmp_path):
    path = tmp_path / "items.csv"
    path.write_text("item_id,price\n007,1\n7,2\n")
    assert read_ids(str(path), (), "item", "--only-items") == ["007", "7"]
    assert read_ids("7, 007", (), "item", "--only-items") == ["7", "007"]
    with pytest.raises(InputError, match=r"--only-items none\.txt: no such file"):
        read_ids("none.txt", (), "item", "--only-items")
    path.write_text("user_id\nu\n")
    with pytest.raises(InputError, match="no column of item ids; expected item or item_id"):
        read_ids(str(path), (), "item", "--only-items")
    with pytest.raises(InputError, match="--only-items, place 2: an empty item id"):
        read_ids("7,,8", (), "item", "--only-items")


@pytest.mark.parametrize(("user", "item"), [("user_id", "item_id"), ("userId", "item")])
def test_histories_keep_users_and_items_in_their_order(tmp_path, user, item):
    path = tmp_path / "new.csv"
    path.write_text(f"when,{item},{user}\n1,007,b\n2,7,a\n3,ü/1,b\n4,007,b\n")
    assert read_histories(path) == {"b": ["007", "ü/1", "007"], "a": ["7"]}
    assert list(read_histories(path)) == ["b", "a"]


def test_histories_of_numbers_are_texts(tmp_path):
    pl.DataFrame({"user": [3, 3, 1], "item": [1.0, 2.0, 2.0]}).write_parquet(tmp_path / "n.parquet")
    assert read_histories(tmp_path / "n.parquet") == {"3": ["1", "2"], "1": ["2"]}


def test_tables_without_usable_histories_are_refused(tmp_path):
    cases = {
        "users.csv": ("user_id,x\na,1\n", "no column of item ids; expected item or item_id"),
        "items.csv": ("x,item_id\na,1\n", "no column of user ids; expected user or user_id"),
        "hole.csv": ("user_id,item_id\na,1\nb,\n", "hole.csv, row 2: an empty item id"),
        "nobody.csv": ("user_id,item_id\n ,1\n", "nobody.csv, row 1: an empty user id"),
        "empty.csv": ("user_id,item_id\n", "empty.csv"),
        "new.xlsx": ("", "unknown kind of table"),
    }
    for name, (content, message) in cases.items():
        (tmp_path / name).write_text(content)
        with pytest.raises(InputError, match=message) as caught:
            read_histories(tmp_path / name)
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match=r"gone.csv: no such file"):
        read_histories(tmp_path / "gone.csv")
