import pandas as pd
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from extract.errors import InputError
from extract.export.order import read_order


def test_a_text_file_has_an_id_a_line(tmp_path):
    path = tmp_path / "ids.txt"
    path.write_bytes("b\r\n007\nx y\n\u2028odd\n".encode())
    assert read_order(path).to_list() == ["b", "007", "x y", "\u2028odd"]


def test_mmrecs_mapping_is_put_in_the_order_of_its_numbers(tmp_path):
    # Written as MMRec writes it: preprocessing/0rating2inter.ipynb, "dump".
    frame = pd.DataFrame([("B00", 2), ("0001", 0), ("x,y", 1)], columns=["asin", "itemID"])
    frame.to_csv(tmp_path / "i_id_mapping.csv", sep="\t", index=False)
    assert read_order(tmp_path / "i_id_mapping.csv").to_list() == ["0001", "x,y", "B00"]
    # Features that were extracted under MMRec's own numbers.
    assert read_order(tmp_path / "i_id_mapping.csv", "itemID").to_list() == ["0", "1", "2"]


def test_a_datasets_items(tmp_path):
    pl.DataFrame({"row": [1, 0], "id": ["b", "a"]}).write_parquet(tmp_path / "items.parquet")
    assert read_order(tmp_path / "items.parquet").to_list() == ["a", "b"]


def test_any_other_table_is_taken_as_it_stands(tmp_path):
    (tmp_path / "items.csv").write_text("item_id,title,row\nb,B,9\na,A,9\n")
    assert read_order(tmp_path / "items.csv").to_list() == ["b", "a"]
    assert read_order(tmp_path / "items.csv", "title").to_list() == ["B", "A"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(
    ids=st.lists(st.text(min_size=1).filter(str.strip), min_size=1, unique=True), seed=st.randoms()
)
def test_whatever_the_ids_a_table_of_rows_puts_them_in_order(tmp_path, ids, seed):
    rows = list(range(len(ids)))
    seed.shuffle(rows)
    path = tmp_path / "items.parquet"
    pl.DataFrame({"id": pl.Series(ids, dtype=pl.String), "row": rows}).write_parquet(path)
    assert read_order(path).to_list() == [ids[rows.index(place)] for place in range(len(ids))]


@pytest.mark.parametrize(
    ("name", "text", "id_column", "says"),
    [
        ("a.txt", "", None, "holds no ids"),
        ("a.txt", "a\n\nb\n", None, r"row 1 \(from 0\) is empty"),
        ("a.txt", "a\nb\na\n", None, r"'a' has the rows 0 and 2"),
        ("a.txt", "a\n", "id", "has no columns"),
        ("a.csv", "title\nx\n", None, "none of the columns item_id, id, item"),
        ("a.csv", "item_id\nx\n", "itm_id", "did you mean 'item_id'"),
        ("a.csv", "asin,itemID\nx,0\ny,2\n", None, "row numbers 0 to 1, each once"),
        ("a.csv", "asin,itemID\nx,0\ny,0\n", None, "row numbers 0 to 1"),
        ("a.csv", "asin,itemID\nx,0\ny,one\n", None, "row numbers 0 to 1"),
        ("a.csv", "item_id\n", None, "no items"),
        ("a.csv", "asin\titemID\nx\t0\t7\n", None, "not readable as a table of tabs"),
        ("a.jsonl", '{"id": 1.5}\n', None, "holds Float64"),
        ("a.json", "[]", None, "unknown kind of table"),
    ],
)
def test_orders_that_cannot_be_used(tmp_path, name, text, id_column, says):
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=says):
        read_order(tmp_path / name, id_column)


def test_a_missing_file_and_one_that_is_not_text(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_order(tmp_path / "a.txt")
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="not readable as UTF-8"):
        read_order(tmp_path / "a.txt")
