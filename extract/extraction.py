"""``extract.run``: one modality of one item table, through one encoder, into one feature store."""

import os
import time
from typing import Any

from extract.catalog import Catalog, Difference
from extract.config import ExtractionConfig
from extract.encoders.base import Encoder
from extract.encoders.ready import plain_fingerprint, ready_encoder
from extract.errors import InputError, TooManyErrors
from extract.item_table import not_items, read_catalog
from extract.locations import Location, remote_errors
from extract.manifest import StoreManifest
from extract.media.containers import require_pyav
from extract.media.reading import Reader
from extract.progress import progress_bar
from extract.store import FeatureStore, check_free, require_store
from extract.summary import ExtractionSummary, summarise
from extract.update import changed_items
from extract.versions import installed_versions

_LIBRARIES = (
    "torch",
    "torchvision",
    "torchaudio",
    "transformers",
    "sentence-transformers",
    "timm",
    "ctranslate2",
    "onnxruntime",
    "openvino",
    "numpy",
    "pillow",
    "soundfile",
    "av",
)


def run(
    config: ExtractionConfig, *, encoder: Encoder | None = None, progress: bool = False
) -> ExtractionSummary:
    """Fill the feature store ``config.out``; what stands there already is kept.

    Items that the store does not have are added; with ``config.update`` the parts in which an
    item's content has changed are encoded anew.

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
        ExtractionInterrupted: Ctrl-C while the local engine encoded; finished parts are kept.
    """
    with remote_errors():
        return _run(config, encoder, progress=progress)


def _run(config: ExtractionConfig, given: Encoder | None, *, progress: bool) -> ExtractionSummary:
    catalog, encoder, manifest = _begin(config, given)
    workers = config.workers or os.cpu_count() or 1
    store = _store_there(config)
    difference, added = Difference((), 0, []), 0
    if store is None:
        store = _create(config, manifest, catalog)
        added = store.item_count
    else:
        difference = catalog.difference(store.id_blocks)
        added = store.add_items(difference.added)
    pending = set(store.verify())
    changed: dict[int, int] = {}
    if config.update:
        whole = [part for part in range(store.part_count) if part not in pending]
        rows = sum(len(store.part_rows(part)) for part in whole)
        with progress_bar("comparing", rows, "items", shown=progress and rows > 0) as advance:
            changed = changed_items(
                whole,
                store=store,
                catalog=catalog,
                reader=Reader.of(config, catalog.base),
                workers=workers,
                advance=advance,
            )
        pending |= changed.keys()
    rows = sum(len(store.part_rows(part)) for part in pending)
    started = time.perf_counter()
    if pending:
        with progress_bar(config.modality, rows, "items", shown=progress) as advance:
            parts = sorted(pending)
            if config.engine == "ray":
                from extract.engines import ray

                del encoder
                ray.run_parts(parts, store=store, catalog=catalog, config=config, advance=advance)
            else:
                from extract.engines import local

                local.run_parts(
                    parts,
                    store=store,
                    catalog=catalog,
                    encoder=encoder,
                    config=config,
                    workers=workers,
                    advance=advance,
                )
    other_files, subfolders = not_items(config.items, config.modality)
    summary = summarise(
        store,
        processed=rows,
        seconds=time.perf_counter() - started,
        added=added,
        compared=config.update,
        changed=sum(changed.values()),
        removed=difference.removed,
        removed_examples=difference.removed_examples,
        other_files=other_files,
        subfolders=subfolders,
    )
    if config.max_errors is not None and summary.failed > config.max_errors:
        # A part that was whole before is not worked on, but its failures count.
        reason, count = next(iter(summary.reasons.items()))
        raise TooManyErrors(
            f"{summary.failed} items failed, more than the {config.max_errors} allowed ({count}:"
            f" {reason}); the features of the others are in {store.path}"
        )
    return summary


def check(config: ExtractionConfig) -> None:
    """Find out whether ``run`` could begin, as far as that is known before an item is encoded.

    The encoder is loaded and let go. Nothing is written.

    Raises:
        InputError: as ``run``, for the table, the encoder, an option or the place.
    """
    with remote_errors():
        _begin(config, None)


def _begin(
    config: ExtractionConfig, given: Encoder | None
) -> tuple[Catalog, Encoder, StoreManifest]:
    """Whatever can be wrong before an item is encoded, the cheapest first."""
    if config.modality == "video":
        require_pyav("the modality video")
    if config.engine == "ray":
        from extract.engines.ray_cluster import require_ray

        require_ray(config.ray_address)
        if given is not None:
            raise InputError(
                "--engine ray: an encoder object cannot be handed over to other processes; name the"
                " encoder by its URI, or its class as package.module:Class"
            )
    catalog = read_catalog(config)
    for root in config.media_roots:
        if not root.is_dir():
            raise InputError(f"--media-root {root}: no such folder")
    name = _encoder_name(config, given)
    there = _store_there(config)
    if there is not None and there.manifest.encoder != name:
        raise _made_otherwise(
            config.out, [f"encoder {there.manifest.encoder!r} there, {name!r} now"]
        )
    # Ray's actors have the devices that were asked for; here only what it is has to be known.
    with_ray = config.engine == "ray"
    encoder = ready_encoder(
        name,
        config.modality,
        device="cpu" if with_ray else config.device,
        dtype=config.dtype,
        compiled=config.compile and not with_ray,
        frames_at_once=config.batch_size,
        given=given,
    )
    manifest = _manifest(config, catalog, encoder, name)
    if there is not None and (differences := there.manifest.differences(manifest)):
        raise _made_otherwise(config.out, differences)
    return catalog, encoder, manifest


def _encoder_name(config: ExtractionConfig, given: Encoder | None) -> str:
    """The encoder's URI, or the class of an object that came without one."""
    if config.encoder is not None:
        return config.encoder
    if given is not None:
        return f"{type(given).__module__}:{type(given).__qualname__}"
    from extract.encoders.registry import default_encoder

    return default_encoder(config.modality)


def _store_there(config: ExtractionConfig) -> FeatureStore | None:
    """The store at ``out`` that this run would go on with; None where it begins one.

    A store without a finished part holds nothing: what a first try left behind is replaced freely.

    Raises:
        InputError: something else stands there.
    """
    if not (config.out / "manifest.json").exists():
        check_free(config.out)
        return None
    if config.overwrite:
        require_store(config.out)
        return None
    store = FeatureStore.open(config.out)
    if store.has_lost_its_items:
        raise InputError(
            f"{store.path}: there are parts, but items-0.parquet, which says whose they are, is"
            " missing; bring it back, or --overwrite to begin anew"
        )
    return store if store.has_finished_parts else None


def _made_otherwise(path: Location, differences: list[str]) -> InputError:
    return InputError(
        f"{path}: holds features that were made otherwise: {'; '.join(differences)};"
        " choose another folder, or --overwrite to make them anew"
    )


def _manifest(
    config: ExtractionConfig, catalog: Catalog, encoder: Encoder, name: str
) -> StoreManifest:
    fingerprint = plain_fingerprint(encoder, name, compiled=config.compile)
    return StoreManifest(
        modality=config.modality,
        encoder=name,
        fingerprint=fingerprint,
        dim=encoder.dim,
        space=encoder.space,
        dtype=config.dtype,
        source=catalog.source,
        decoding=_decoding(config),
        rows_per_part=config.rows_per_part,
        libraries=installed_versions(_LIBRARIES),
    )


def _decoding(config: ExtractionConfig) -> dict[str, Any]:
    """The options that decide what is read of a medium, and which media are refused."""
    if config.modality == "audio":
        return {"max_seconds": config.max_seconds}
    if config.modality == "video":
        return {
            "max_seconds": config.max_seconds,
            "frames": config.frames,
            "frame_sampling": config.frame_sampling,
        }
    return {}


def _create(config: ExtractionConfig, manifest: StoreManifest, catalog: Catalog) -> FeatureStore:
    if (config.out / "manifest.json").exists():
        return FeatureStore.replace(config.out, manifest, catalog.ids())
    return FeatureStore.create(config.out, manifest, catalog.ids())
