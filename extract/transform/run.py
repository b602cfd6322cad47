"""``features transform``: a feature store into a new one, part by part."""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from extract.blocks import read_block
from extract.errors import InputError
from extract.locations import Location
from extract.manifest import StoreManifest
from extract.progress import progress_bar
from extract.store import FeatureStore, Part, check_free, require_store
from extract.transform.fitted import FittedTransform, Method
from extract.transform.fitting import check_options, fit, layer_of


@dataclass(frozen=True)
class TransformSummary:
    """What ``transform`` left behind."""

    path: Location
    source: Location
    transform: FittedTransform
    space: str
    statuses: dict[str, int]
    written: int
    """Parts that this run wrote."""
    kept: int
    """Parts that stood there already."""
    zeros: int
    """Ok items whose vector is zero in the new store, counted over the parts that were written."""

    def lines(self) -> list[str]:
        """The summary as lines of text for people."""
        made = self.transform
        lines = [f"{made.label}: {made.input_dim} to {made.dim} dimensions, from {self.source}"]
        if "fitted_items" in made.parameters:
            lines.append(f"fitted on {made.parameters['fitted_items']:,} ok items")
        if "explained_variance_ratio" in made.parameters:
            share = made.parameters["explained_variance_ratio"]
            lines.append(f"explained variance: {share:.2%} in {made.dim} dimensions")
        counts = ", ".join(f"{name} {self.statuses[name]:,}" for name in self.statuses)
        lines.append(counts)
        if self.kept:
            lines.append(
                f"{self.written} parts written; {self.kept} stood there already"
                if self.written
                else "already complete: nothing was written"
            )
        if self.zeros:
            lines.append(f"warning: the vectors of {self.zeros:,} ok items are zero")
        return [*lines, f"space: {self.space}", f"features: {self.path}"]


def transform(
    source: Location,
    out: Location,
    *,
    method: Method | None = None,
    dim: int | None = None,
    shrinkage: float | None = None,
    fitted: Location | None = None,
    layer: str | None = None,
    overwrite: bool = False,
    progress: bool = False,
) -> TransformSummary:
    """Write a store with the ids, statuses and parts of ``source`` and transformed vectors.

    Exactly one of ``method``, ``fitted`` and ``layer`` says how. A run that was cut short goes on
    where it stopped when it is called again alike; finished parts are kept.

    Args:
        source: a complete feature store.
        out: the new store's folder: absent, empty, or a store that this very call began.
        method: fitted on the ok items of ``source``; see ``extract.transform.fitting.fit``.
        dim: of pca and whitening: how many dimensions are kept.
        shrinkage: of whitening, 0 to 1.
        fitted: a store that ``transform`` made, whose fitted transform is applied as it is; the
            vectors of the two stores are then comparable.
        layer: name of one of the layers that the encoder wrote one after another.
        overwrite: replace another store in ``out``.
        progress: show a bar on standard error.

    Raises:
        InputError: a store is absent, incomplete or damaged, the options do not fit together or
            the store, the fitted transform is of another space, ``out`` holds something else, or
            the disk is full (what is finished is kept).
    """
    if (method is not None) + (fitted is not None) + (layer is not None) != 1:
        raise InputError("give exactly one of --method, --fitted and --layer")
    for option, value in (("--dim", dim), ("--shrinkage", shrinkage)):
        if value is not None and method is None:
            raise InputError(f"{option} {value:g}: acts on --method only")
    store = FeatureStore.open(source)
    for taken in (source, fitted):
        if taken is not None and taken.resolve() == out.resolve():
            raise InputError(f"{out}: is the store that is read; name another folder with --out")
    if method is not None:
        check_options(store, method, dim, shrinkage)
    digest = store.digest()
    there = _store_there(out, overwrite=overwrite)
    made = None if overwrite else _begun(there, digest, method, dim, shrinkage)
    if made is None:
        made = _transform(store, method, dim, shrinkage, fitted, layer)
    manifest = _manifest(store, digest, made)
    target = _begin(out, there, manifest, made)
    target.copy_items(store)
    pending = target.verify()
    zeros = _write(store, target, made, pending, progress=progress)
    counts: Counter[str] = Counter({"ok": 0, "failed": 0, "missing": 0})
    for part in range(target.part_count):
        counts.update(dict(target.part_statuses(part)["status"].value_counts().iter_rows()))
    return TransformSummary(
        path=out,
        source=source,
        transform=made,
        space=made.space,
        statuses=dict(counts),
        written=len(pending),
        kept=target.part_count - len(pending),
        zeros=zeros,
    )


def _begun(
    there: FeatureStore | None,
    digest: str,
    method: Method | None,
    dim: int | None,
    shrinkage: float | None,
) -> FittedTransform | None:
    """The transform that the same call fitted before it was cut short.

    Fitted again it could differ in the last bits, with another number of threads.
    """
    if there is None or method is None:
        return None
    try:
        made = FittedTransform.of_store(there)
    except InputError:
        return None
    fitted = made.parameters
    same = (
        made.kind == method
        and fitted.get("fitted_on") == digest == there.manifest.fingerprint["source"].get("digest")
        and (dim or fitted.get("rank", made.dim)) == made.dim
        and fitted.get("shrinkage", 0.0) == (shrinkage or 0.0)
    )
    return made if same else None


def _transform(
    store: FeatureStore,
    method: Method | None,
    dim: int | None,
    shrinkage: float | None,
    fitted: Location | None,
    layer: str | None,
) -> FittedTransform:
    if method is not None:
        return fit(store, method, dim=dim, shrinkage=shrinkage)
    if layer is not None:
        return layer_of(store, layer)
    assert fitted is not None
    made = FittedTransform.of_store(FeatureStore.open(fitted))
    if made.input_space != store.manifest.space or made.input_dim != store.manifest.dim:
        raise InputError(
            f"--fitted {fitted}: was fitted in the space {made.input_space!r} ({made.input_dim}"
            f" dimensions), but {store.path} is in {store.manifest.space!r}"
            f" ({store.manifest.dim} dimensions)"
        )
    return made


def _manifest(store: FeatureStore, digest: str, made: FittedTransform) -> StoreManifest:
    """The source's manifest, but for what the transform changes.

    ``encoder`` is no URI any more: whoever loads it by mistake must not get vectors that lack the
    transform.
    """
    source = store.manifest
    return source.model_copy(
        update={
            "encoder": f"{source.encoder} + {made.label}",
            "fingerprint": {
                "transform": made.description,
                "source": {
                    "digest": digest,
                    "encoder": source.encoder,
                    "space": source.space,
                    "fingerprint": source.fingerprint,
                },
            },
            "dim": made.dim,
            "space": made.space,
        }
    )


def _store_there(out: Location, *, overwrite: bool) -> FeatureStore | None:
    if not (out / "manifest.json").exists():
        check_free(out)
        return None
    if overwrite:
        # What is to be replaced may be damaged, or of another version.
        require_store(out)
        return None
    return FeatureStore.open(out)


def _begin(
    out: Location,
    there: FeatureStore | None,
    manifest: StoreManifest,
    made: FittedTransform,
) -> FeatureStore:
    """The store to write into: a new one, or the one that the same call began."""
    if there is None and (out / "manifest.json").exists():
        begun = FeatureStore.replace(out, manifest, ())
    elif there is None:
        begun = FeatureStore.create(out, manifest, ())
    else:
        differences = there.manifest.differences(manifest)
        if differences and there.has_finished_parts:
            raise InputError(
                f"{out}: holds other features ({'; '.join(differences)}); choose another folder,"
                " or --overwrite to replace them"
            )
        begun = FeatureStore.replace(out, manifest, ()) if differences else there
    # Before any part, so that a part never stands without what made it.
    made.write(begun)
    return begun


def _write(
    store: FeatureStore,
    target: FeatureStore,
    made: FittedTransform,
    pending: list[int],
    *,
    progress: bool,
) -> int:
    """Write the pending parts; returns how many ok vectors became zero."""
    zeros, rows = 0, sum(len(target.part_rows(part)) for part in pending)
    with progress_bar(made.label, rows, "items", shown=progress) as advance:
        for part in pending:
            block = read_block(store, part)
            vectors = np.full((len(block.vectors), made.dim), np.nan, dtype=np.float32)
            vectors[block.ok] = made.apply(block.ok_vectors)
            zeros += int((~vectors[block.ok].any(axis=1)).sum())
            target.write_part(part, Part(vectors, block.statuses))
            advance(len(vectors))
    return zeros
