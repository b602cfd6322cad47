"""A dataset that ``prepare`` wrote, as the source of another tool's files."""

from pathlib import Path
from typing import ClassVar

import polars as pl

from extract.errors import InputError
from mmssl.data.dataset import Dataset, Interactions
from mmssl.data.features import SourceFeatures
from mmssl.data.formats.base import Format, RawDataset
from mmssl.data.interactions import InteractionTable, InvalidRows
from mmssl.data.manifest import MANIFEST, is_dataset


class PreparedDataset(Format):
    """A dataset folder; only read, since ``prepare`` writes it."""

    name: ClassVar = "dataset"
    title: ClassVar = "a dataset that `prepare` wrote (read only)"

    def recognises(self, source: Path) -> bool:
        """A folder whose manifest says so."""
        try:
            return is_dataset(source)
        except InputError:
            return False

    def read(self, source: Path, invalid_rows: InvalidRows = "error") -> RawDataset:
        """Read all parts: that the test split is read is recorded; see ``Format.read``."""
        del invalid_rows  # a dataset holds none
        dataset = Dataset.open(source)
        splits = {
            "train": dataset.train,
            "val": dataset.val,
            "test": dataset.read_test("conversion"),
        }
        return RawDataset(
            {
                part: InteractionTable(source / f"{part}.parquet", _frame(dataset, pairs))
                for part, pairs in splits.items()
            },
            {
                modality: SourceFeatures(
                    dataset.item_ids.ids, each.vectors, each.present, each.encoder, each.digest
                )
                for modality, each in dataset.features.items()
            },
            {"dataset": source / MANIFEST},
        )


def _frame(dataset: Dataset, pairs: Interactions) -> pl.DataFrame:
    frame = pl.DataFrame(
        {
            "user": pl.Series(dataset.user_ids.ids, dtype=pl.String).gather(pairs.users),
            "item": pl.Series(dataset.item_ids.ids, dtype=pl.String).gather(pairs.items),
        }
    )
    return frame.with_columns(pl.int_range(1, pl.len() + 1, dtype=pl.Int64).alias("row"))
