"""Ducho's layout: a .npy an item, in ``OUT/<backend>/<model>/<layer>/<name>.npy``.

That is what Ducho writes (``ducho/internal/father_classes/DatasetFather.py``,
``create_output_file``) and what Elliot's visual and textual loaders take: they are given the
innermost folder, list it, and cut each file's name at its first dot to get the item's id
(``elliot/dataset/modular_loaders/visual/visual_attribute.py``). So nothing else lies in that
folder; ``OUT/names.csv`` says which file is whose.
"""

import csv
import hashlib
import re
from pathlib import Path

import numpy as np

from extract.blocks import Block, blocks
from extract.errors import InputError
from extract.export.summary import ExportSummary, begin_summary
from extract.files import atomic_folder
from extract.manifest import StoreManifest
from extract.store import FeatureStore

NAMES = "names.csv"
_HEADER = ["item_id", "file"]
# Ducho's words for the libraries that we know by the scheme of a URI.
_BACKENDS = {"torchvision": "torch", "hf": "transformers", "st": "sentence_transformers"}
# A file name is at most 255 bytes, .npy among them.
_LONGEST = 200


def ducho_folder(manifest: StoreManifest) -> Path:
    """``<backend>/<model>/<layer>`` of a store, as far as its encoder says."""
    uri, _, transform = manifest.encoder.partition(" + ")
    scheme, _, name = uri.partition(":")
    model = name.split("?")[0].split("@")[0].rstrip("/").rsplit("/", 1)[-1]
    layer = manifest.fingerprint.get("layer")
    if transform:
        layer = transform.replace(" + ", "-")
    words = (_BACKENDS.get(scheme, scheme), model, "output" if layer is None else str(layer))
    return Path(*(file_name(word) or "unnamed" for word in words))


def file_name(item_id: str) -> str:
    """An id as the stem of a file's name.

    Letters, digits, ``-`` and ``_`` stay; whatever else, dots too, becomes ``_``. A name too long
    for a file ends in a piece of its digest.
    """
    name = re.sub(r"[^\w-]", "_", item_id)
    if len(name.encode()) <= _LONGEST:
        return name
    cut = name.encode()[: _LONGEST - 17].decode(errors="ignore")
    return f"{cut}_{hashlib.sha256(item_id.encode()).hexdigest()[:16]}"


def check_replaceable(out: Path) -> None:
    """Whether ``--overwrite`` may replace a folder: only one that an export like this made.

    Raises:
        InputError: it holds anything else.
    """
    others = [entry for entry in out.iterdir() if entry.name != NAMES and not entry.is_dir()]
    marked = False
    if (out / NAMES).is_file():
        with (out / NAMES).open(encoding="utf-8", errors="replace", newline="") as handle:
            marked = next(csv.reader(handle), None) == _HEADER
    if others or not marked or len(list(out.iterdir())) != 2:
        raise InputError(
            f"{out}: holds other files than an export; --overwrite does not remove them: name"
            " another folder"
        )


def write_ducho(store: FeatureStore, out: Path) -> ExportSummary:
    """Write a float32 (dim,) an ok item; the folder appears whole or not at all.

    Raises:
        InputError: two ids would have the same file name (both are named), or the disk is full.
    """
    summary = begin_summary("ducho", store)
    inner = ducho_folder(store.manifest)
    with atomic_folder(out) as temporary:
        (temporary / inner).mkdir(parents=True)
        with (temporary / NAMES).open("w", encoding="utf-8", newline="") as handle:
            names = csv.writer(handle)
            names.writerow(_HEADER)
            for block in blocks(store):
                names.writerows(_write(temporary, inner, block, store))
                summary.written += int(block.ok.sum())
    summary.files = [out / inner]
    summary.notes.append(f"which file is whose: {out / NAMES}")
    return summary


def _write(root: Path, inner: Path, block: Block, store: FeatureStore) -> list[tuple[str, str]]:
    """Write a part's files; returns the ids and the files' paths below ``root``."""
    rows = []
    for item_id, vector in zip(block.ok_ids, block.ok_vectors, strict=True):
        path = inner / f"{file_name(item_id)}.npy"
        try:
            # x: also a file system that does not tell upper from lower case finds out here.
            with (root / path).open("xb") as file:
                np.save(file, vector, allow_pickle=False)
        except FileExistsError:
            first = _owner(store, path.name, item_id)
            raise InputError(
                f"items {first!r} and {item_id!r} would both be the file {path.name!r}; rename one"
            ) from None
        rows.append((item_id, path.as_posix()))
    return rows


def _owner(store: FeatureStore, name: str, other: str) -> str:
    for block in blocks(store):
        for item_id in block.ok_ids:
            if item_id != other and f"{file_name(item_id)}.npy".casefold() == name.casefold():
                return str(item_id)
    return other
