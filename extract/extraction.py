"""``extract.run``: one modality of one item table, through one encoder, into one feature store."""

import json
import os
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import torch

from extract.catalog import Catalog, read_catalog
from extract.config import ExtractionConfig
from extract.encoders.base import Encoder
from extract.engines.local import run_parts
from extract.errors import InputError
from extract.manifest import StoreManifest
from extract.progress import progress_bar
from extract.store import FeatureStore, check_free
from extract.versions import installed_versions

_EXAMPLES = 3

_LIBRARIES = (
    "torch",
    "torchvision",
    "torchaudio",
    "transformers",
    "sentence-transformers",
    "timm",
    "ctranslate2",
    "numpy",
    "pillow",
    "soundfile",
)


@dataclass(frozen=True)
class ExtractionSummary:
    """What a run left behind: counts over the whole store, and what this run did of it."""

    path: Path
    modality: str
    encoder: str
    source: str
    items: int
    ok: int
    failed: int
    missing: int
    reasons: dict[str, int]
    """Failed items by reason, the most frequent first."""
    examples: dict[str, list[str]]
    """For each reason, the first few item ids."""
    processed: int
    """Rows that this run worked on; the others stood in the store already."""
    seconds: float
    """Time this run spent on them, loading the encoder left out."""

    @property
    def items_per_second(self) -> float:
        """Rate of this run; 0 when nothing was left to do."""
        return self.processed / self.seconds if self.processed else 0.0

    def __str__(self) -> str:
        """The summary as the command line prints it."""
        lines = [f"{self.modality}: {self.items} items through {self.encoder} ({self.source})"]
        if not self.processed:
            lines.append("already complete: nothing was encoded")
        else:
            kept = self.items - self.processed
            reused = f"; {kept} stood in the store already" if kept else ""
            lines.append(
                f"{self.processed} items in {self.seconds:.1f} s,"
                f" {self.items_per_second:.1f} items/s{reused}"
            )
        lines.append(f"ok {self.ok}, failed {self.failed}, missing {self.missing}")
        for reason, count in self.reasons.items():
            lines.append(f"  failed {count}: {reason} ({', '.join(self.examples[reason])})")
        if self.failed and not self.processed:
            lines.append("  to try the failed items again once they are mended: --overwrite")
        lines.append(f"features: {self.path}")
        return "\n".join(lines)


def run(
    config: ExtractionConfig, *, encoder: Encoder | None = None, progress: bool = False
) -> ExtractionSummary:
    """Fill the feature store ``config.out``; what stands there already from the same run is kept.

    Args:
        config: what to extract.
        encoder: an encoder object, used instead of loading ``config.encoder``; it is moved to the
            configuration's device and dtype.
        progress: show a bar with rate and estimate on standard error.

    Returns:
        Counts of the whole store. Items that failed are rows with a reason, not an exception.

    Raises:
        InputError: the table, the encoder or an option cannot be used, or the store at ``out`` was
            made otherwise (the differences are named).
        TooManyErrors: more than ``config.max_errors`` items failed; finished parts are kept.
    """
    catalog = read_catalog(config)
    for root in config.media_roots:
        if not root.is_dir():
            raise InputError(f"--media-root {root}: no such folder")
    name = _encoder_name(config, encoder)
    _check_place(config, name)
    encoder = _encoder(config, name, encoder)
    store = _open_or_create(config, _manifest(config, catalog, encoder, name))
    pending = store.verify()
    rows = sum(len(store.part_rows(part)) for part in pending)
    started = time.perf_counter()
    if pending:
        with progress_bar(config.modality, rows, "items", shown=progress) as advance:
            run_parts(
                pending,
                store=store,
                catalog=catalog,
                encoder=encoder,
                config=config,
                workers=config.workers or os.cpu_count() or 1,
                advance=advance,
            )
    return _summary(store, processed=rows, seconds=time.perf_counter() - started)


def _encoder_name(config: ExtractionConfig, given: Encoder | None) -> str:
    """The encoder's URI, or the class of an object that came without one."""
    if config.encoder is not None:
        return config.encoder
    if given is not None:
        return f"{type(given).__module__}:{type(given).__qualname__}"
    from extract.encoders.registry import default_encoder

    return default_encoder(config.modality)


def _check_place(config: ExtractionConfig, name: str) -> None:
    """Refuse what is plainly wrong with ``out`` before an encoder is downloaded and loaded."""
    if not (config.out / "manifest.json").exists():
        check_free(config.out)
    elif not config.overwrite:
        there = FeatureStore.open(config.out).manifest.encoder
        if there != name:
            raise _made_otherwise(config.out, [f"encoder {there!r} there, {name!r} now"])


def _made_otherwise(path: Path, differences: list[str]) -> InputError:
    return InputError(
        f"{path}: holds features that were made otherwise: {'; '.join(differences)};"
        " choose another folder, or --overwrite to make them anew"
    )


def _encoder(config: ExtractionConfig, name: str, given: Encoder | None) -> Encoder:
    """The encoder on its device."""
    from extract.device import resolve_device
    from extract.encoders.check import contract_problem
    from extract.encoders.registry import load_encoder

    device, dtype = resolve_device(config.device), getattr(torch, config.dtype)
    try:
        if given is None:
            moved: object = load_encoder(name, config.modality, device=device, dtype=dtype)
        else:
            problem = contract_problem(given, config.modality)
            moved = given if problem else given.to(device, dtype)
    except InputError:
        raise
    except Exception as error:  # somebody's code: whatever it raises is the finding
        raise InputError(
            f"encoder {name}: could not be brought to {device} as {config.dtype}"
            f" ({type(error).__name__}: {error})"
        ) from error
    if not isinstance(moved, Encoder):
        raise InputError(
            f"encoder {name}: to() must return the encoder; it returned {type(moved).__name__}"
        )
    if problem := contract_problem(moved, config.modality):
        raise InputError(f"encoder {name}: {problem}")
    return moved


def _manifest(
    config: ExtractionConfig, catalog: Catalog, encoder: Encoder, name: str
) -> StoreManifest:
    try:
        # Through JSON, so that a tuple equals the list it will be read back as.
        fingerprint = json.loads(json.dumps(encoder.fingerprint(), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise InputError(f"encoder {name}: its fingerprint is not plain JSON ({error})") from error
    except Exception as error:
        raise InputError(
            f"encoder {name}: fingerprint() failed ({type(error).__name__}: {error})"
        ) from error
    if not isinstance(fingerprint, dict):
        raise InputError(
            f"encoder {name}: fingerprint() must give a dict; it gave {type(fingerprint).__name__}"
        )
    return StoreManifest(
        modality=config.modality,
        encoder=name,
        fingerprint=fingerprint,
        dim=encoder.dim,
        space=encoder.space,
        dtype=config.dtype,
        source=catalog.source,
        decoding={"max_seconds": config.max_seconds} if config.modality == "audio" else {},
        rows_per_part=config.rows_per_part,
        items=len(catalog),
        ids_digest=catalog.ids_digest(),
        libraries=installed_versions(_LIBRARIES),
    )


def _open_or_create(config: ExtractionConfig, manifest: StoreManifest) -> FeatureStore:
    if not (config.out / "manifest.json").exists():
        return FeatureStore.create(config.out, manifest)
    store = FeatureStore.open(config.out)
    if config.overwrite:
        return store.begin_anew(manifest)
    if differences := store.manifest.differences(manifest):
        raise _made_otherwise(config.out, differences)
    return store


def _summary(store: FeatureStore, *, processed: int, seconds: float) -> ExtractionSummary:
    counts: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    examples: dict[str, list[str]] = {}
    # Part by part, so that the summary of millions of items needs no table of them.
    for part in range(store.part_count):
        statuses = store.part_statuses(part)
        counts.update(dict(statuses["status"].value_counts().iter_rows()))
        for name, _, reason, _ in statuses.filter(pl.col("status") == "failed").iter_rows():
            reasons[reason] += 1
            if reasons[reason] <= _EXAMPLES:
                examples.setdefault(reason, []).append(name)
    return ExtractionSummary(
        path=store.path,
        modality=store.manifest.modality,
        encoder=store.manifest.encoder,
        source=store.manifest.source,
        items=store.manifest.items,
        ok=counts["ok"],
        failed=counts["failed"],
        missing=counts["missing"],
        reasons=dict(reasons.most_common()),
        examples=examples,
        processed=processed,
        seconds=seconds,
    )
