"""``prepare``: interactions and features to a dataset folder."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import polars as pl

from extract.errors import InputError
from extract.files import sha256_file
from extract.locations import Location
from mmssl.data.cleaning import clean
from mmssl.data.dataset import Interactions
from mmssl.data.features import SourceFeatures, read_features
from mmssl.data.formats.base import RawDataset
from mmssl.data.formats.registry import source_format
from mmssl.data.ids import IdMap, ordered_ids
from mmssl.data.interactions import read_interactions
from mmssl.data.manifest import Counts, Manifest, ModalityEntry, Source, content_digest
from mmssl.data.prepare_config import PARTS, PrepareConfig, refuse_modality_name
from mmssl.data.splits import split_interactions
from mmssl.data.writer import content_digests, refuse_foreign_folder, write_dataset, write_files
from mmssl.wording import counted

__all__ = ["PrepareConfig", "PrepareReport", "prepare"]


@dataclass(frozen=True)
class PrepareReport:
    """What ``prepare`` made of its sources.

    ``written`` is False when the folder already held this very dataset.
    """

    out: Path
    manifest: Manifest
    warnings: tuple[str, ...]
    written: bool

    def lines(self) -> list[str]:
        """The report as lines of text for people."""
        counts = self.manifest.counts
        lines = [
            f"{removed.step}: removed {counted(removed.interactions, 'interaction')},"
            f" {counted(removed.users, 'user')}, {counted(removed.items, 'item')}"
            for removed in self.manifest.removed
        ]
        lines.append(f"{counted(counts.users, 'user')}, {counted(counts.items, 'item')}")
        lines.append(
            f"{counts.train:,} / {counts.val:,} / {counts.test:,} interactions"
            " (training / validation / test)"
        )
        lines.append(
            f"without training interaction: {counted(counts.items_without_training, 'item')},"
            f" {counted(counts.users_without_training, 'user')}"
        )
        for modality, entry in self.manifest.modalities.items():
            missing = counts.items - entry.present
            lines.append(
                f"{modality}: {entry.dim} dimensions, {counted(entry.present, 'item')},"
                f" missing for {missing:,} ({missing / counts.items:.1%})"
            )
        lines += [f"warning: {warning}" for warning in self.warnings]
        state = "written" if self.written else "already there, unchanged"
        return [*lines, f"{self.out}: {state} (digest {self.manifest.digest[:12]})"]


def prepare(config: PrepareConfig) -> PrepareReport:
    """Read, filter, split and align; write the dataset folder ``config.out`` whole or not at all.

    A folder that already holds this very dataset is left as it is.

    Raises:
        InputError: a source cannot be used, nothing would be left, or ``out`` holds something else.
    """
    refuse_foreign_folder(config.out)
    raw = _read(config)
    if raw.split:
        config.refuse_split_options()
    features = dict(raw.features)
    places: dict[str, Location] = dict.fromkeys(features, config.source or config.out)
    for modality, path in config.features.items():
        features[modality] = read_features(path, config.feature_ids.get(modality))
        places[modality] = path
    for modality in raw.features:
        refuse_modality_name(modality, config.source)
    listed = _listed_items(config.items, config.id_column) if config.items else set()
    known = listed.union(*(source.ids for source in features.values()))
    cleaned = clean(dict(raw.parts), config, known)
    frames, warnings = cleaned.frames, [*raw.warnings, *cleaned.warnings]
    interacted = _distinct(frames, "item")
    user_ids = IdMap(ordered_ids(_distinct(frames, "user")), "user")
    item_ids = IdMap(ordered_ids((known | interacted) - cleaned.left_by_core), "item")
    splits = _splits(frames, user_ids, item_ids, config)
    warnings += [f"the {part} split is empty" for part in PARTS if not len(splits[part])]
    for modality, source in features.items():
        warnings += _feature_warnings(modality, places[modality], source, interacted)

    def fill(folder: Path) -> Manifest:
        aligned = {name: source.aligned(item_ids) for name, source in features.items()}
        files = write_files(folder, user_ids, item_ids, splits, aligned)
        contents = content_digests(user_ids, item_ids, splits, aligned)
        return Manifest(
            digest=content_digest(contents),
            counts=_counts(user_ids, item_ids, splits),
            modalities={
                name: ModalityEntry(
                    dim=vectors.shape[1],
                    present=int(present.sum()),
                    encoder=features[name].encoder,
                    source=Source(path=str(places[name]), sha256=features[name].digest),
                )
                for name, (vectors, present) in aligned.items()
            },
            settings=_settings(config, split_ready=raw.split),
            sources=_sources(config, raw.sources),
            removed=cleaned.removed,
            contents=contents,
            files=files,
        )

    written, manifest = write_dataset(config.out, fill, overwrite=config.overwrite)
    return PrepareReport(config.out, manifest, tuple(warnings), written)


def _read(config: PrepareConfig) -> RawDataset:
    """The interactions, and what the source of another tool holds beside them."""
    if config.source is not None:
        layout = source_format(config.source, config.source_format)
        return layout.read(config.source, config.invalid_rows)
    named = {part: cast(Path | None, getattr(config, part)) for part in ("interactions", *PARTS)}
    files = {part: path for part, path in named.items() if path is not None}
    parts = {
        part: read_interactions(
            path, columns=config.columns, header=config.header, invalid_rows=config.invalid_rows
        )
        for part, path in files.items()
    }
    return RawDataset(parts, sources=files)


def _distinct(frames: dict[str, pl.DataFrame], kind: str) -> set[str]:
    return set().union(*(frame[kind].unique().to_list() for frame in frames.values()))


def _splits(
    frames: dict[str, pl.DataFrame], user_ids: IdMap, item_ids: IdMap, config: PrepareConfig
) -> dict[str, Interactions]:
    """Training, validation and test as row numbers, sorted by user and item."""
    parts: dict[str, Interactions] = {}
    for name, frame in frames.items():
        users, items = user_ids.rows(frame["user"]), item_ids.rows(frame["item"])
        # Sorted before it is split, so that the order of the file decides nothing.
        order = np.lexsort((items, users))
        users, items = users[order], items[order]
        if name in PARTS:
            parts[name] = Interactions(users, items)
            continue
        times = frame["timestamp"].to_numpy()[order] if "timestamp" in frame.columns else None
        labels = split_interactions(
            config.split, users, items, times, ratios=config.ratios, seed=config.seed
        )
        for label, part in enumerate(PARTS):
            parts[part] = Interactions(users[labels == label], items[labels == label])
    return parts


def _listed_items(path: Path, id_column: str | None) -> set[str]:
    # Imported here: extraction's catalogue loads torch, which a run without --items does not need.
    from extract.item_table import read_item_ids

    return set(read_item_ids(path, id_column))


def _feature_warnings(
    modality: str, path: Location, source: SourceFeatures, interacted: set[str]
) -> list[str]:
    """What is odd about a modality's ids and vectors.

    Raises:
        InputError: not one item with interactions has a row: the ids must be of another kind.
    """
    warnings = []
    if not source.present.any():
        raise InputError(
            f"{path}: not one item has a vector of {modality}; the extraction's summary says why;"
            " mend that, or leave this modality out"
        )
    shared = len(interacted.intersection(source.ids))
    if not shared:
        raise InputError(
            f"{path}: no item with interactions has {modality} features: the interactions hold ids"
            f" like '{min(interacted)}', the features ids like '{source.ids[0]}'; for a .npy, name"
            f" the ids of its rows with --feature-ids {modality}=FILE"
        )
    if shared < len(interacted) / 2:
        warnings.append(
            f"{modality}: only {shared:,} of {len(interacted):,} items with interactions have a row"
            f" in {path}; are the ids the same?"
        )
    absent = int((~source.present).sum())
    if absent:
        rows = "row holds" if absent == 1 else "rows hold"
        warnings.append(f"{modality}: {absent:,} {rows} no vector in {path}: missing")
    zero = int((source.present & ~source.vectors.any(axis=1)).sum())
    if zero:
        rows = "row is" if zero == 1 else "rows are"
        warnings.append(
            f"{modality}: {zero:,} {rows} all zeros in {path} and present; if zeros stand for"
            " missing media, write NaN instead"
        )
    return warnings


def _counts(user_ids: IdMap, item_ids: IdMap, splits: dict[str, Interactions]) -> Counts:
    train = splits["train"]
    return Counts(
        users=len(user_ids),
        items=len(item_ids),
        train=len(train),
        val=len(splits["val"]),
        test=len(splits["test"]),
        users_without_training=len(user_ids) - len(np.unique(train.users)),
        items_without_training=len(item_ids) - len(np.unique(train.items)),
    )


def _settings(config: PrepareConfig, *, split_ready: bool) -> dict[str, object]:
    """The options that decide the content, sources excepted, as JSON values."""
    settings = config.model_dump(
        mode="json",
        exclude={
            "out",
            "overwrite",
            "source",
            "source_format",
            "interactions",
            *PARTS,
            "items",
            "id_column",
            "features",
            "feature_ids",
        },
    )
    if split_ready:
        for name in ("ratios", "seed", "user_core", "item_core"):
            del settings[name]
        settings["split"] = "ready"
    return settings


def _sources(config: PrepareConfig, read: Mapping[str, Path]) -> dict[str, Source]:
    """Every file that was read, with its digest."""
    files: dict[str, Path | None] = {**read, "items": config.items}
    files |= {f"feature ids {name}": path for name, path in config.feature_ids.items()}
    return {
        name: Source(path=str(path), sha256=sha256_file(path))
        for name, path in files.items()
        if path is not None
    }
