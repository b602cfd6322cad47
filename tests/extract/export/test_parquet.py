import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from extract.export.parquet import write_parquet

ABSENT = {1: "failed", 6: "missing"}
IDS = ["a", "b/c", "", "пример", "007", "x\ny", "NULL", "z"]


@pytest.fixture
def written(tmp_path, fill_store):
    vectors = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)
    ids = [name or " " for name in IDS]
    store = fill_store(tmp_path / "s", vectors, absent=ABSENT, ids=ids)
    return vectors, ids, write_parquet(store, tmp_path / "f.parquet"), tmp_path / "f.parquet"


def test_polars_reads_it_back(written):
    vectors, ids, summary, path = written
    frame = pl.read_parquet(path)
    assert dict(frame.schema) == {
        "id": pl.String,
        "status": pl.String,
        "embedding": pl.Array(pl.Float32, 3),
    }
    assert frame["id"].to_list() == ids
    assert frame["status"].to_list() == [ABSENT.get(row, "ok") for row in range(8)]
    assert frame["embedding"].is_null().arg_true().to_list() == list(ABSENT)
    np.testing.assert_array_equal(
        frame.filter(pl.col("status") == "ok")["embedding"].to_numpy(),
        np.delete(vectors, list(ABSENT), axis=0),
    )
    assert summary.written == 6
    assert "without a vector: failed 1, missing 1" in summary.lines()


def test_pyarrow_sees_the_types_and_a_row_group_a_part(written):
    _, _, _, path = written
    file = pq.ParquetFile(path)
    assert file.schema_arrow.field("embedding").type == pa.list_(pa.float32(), 3)
    assert [file.metadata.row_group(k).num_rows for k in range(file.num_row_groups)] == [3, 3, 2]
    assert file.schema_arrow.metadata[b"space"] == b"tests"
