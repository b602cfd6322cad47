"""One Parquet file: a row an item, a row group a part."""

from pathlib import Path

import numpy as np

from extract.blocks import blocks
from extract.export.summary import ExportSummary, begin_summary
from extract.files import atomic_path
from extract.store import FeatureStore


def write_parquet(store: FeatureStore, out: Path) -> ExportSummary:
    """Write the columns ``id`` and ``status`` (strings) and ``embedding``.

    ``embedding`` is a list of ``dim`` float32 of fixed size (Arrow FixedSizeList, polars Array),
    null where the status is not ok: those rows stay, so that the file tells of them.

    Raises:
        InputError: a part is damaged, or the disk is full.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    summary = begin_summary("parquet", store)
    summary.files, summary.written = [out], summary.statuses["ok"]
    dim = store.manifest.dim
    schema = pa.schema(
        [
            pa.field("id", pa.string(), nullable=False),
            pa.field("status", pa.string(), nullable=False),
            pa.field("embedding", pa.list_(pa.float32(), dim)),
        ],
        metadata={"encoder": store.manifest.encoder, "space": store.manifest.space},
    )
    with atomic_path(out) as temporary, pq.ParquetWriter(temporary, schema) as writer:
        for block in blocks(store):
            # What stands under a null is not read; NaN would take as much room as a vector.
            flat = np.where(block.ok[:, None], block.vectors, np.float32(0)).reshape(-1)
            embedding = pa.FixedSizeListArray.from_arrays(
                pa.array(flat), dim, mask=pa.array(~block.ok)
            )
            columns = [
                block.statuses[name].to_arrow().cast(pa.string()) for name in ("id", "status")
            ]
            table = pa.Table.from_arrays([*columns, embedding], schema=schema)
            writer.write_table(table, row_group_size=max(table.num_rows, 1))
    return summary
