"""Writing a dataset folder: whole or not at all."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from extract.errors import InputError
from extract.files import atomic_folder, sha256_file, write_json
from mmssl.data.dataset import TEST_READS, Dataset, Interactions
from mmssl.data.ids import IdMap
from mmssl.data.manifest import MANIFEST, Manifest, is_dataset

OWN_NAMES = {
    *(f"{name}.parquet" for name in ("users", "items", "train", "val", "test")),
    *("features", MANIFEST, TEST_READS),
}


def refuse_foreign_folder(out: Path) -> None:
    """Refuse to write over what is not a dataset, or over more than a dataset.

    Raises:
        InputError: ``out`` is a file, or a folder that holds something else.
    """
    try:
        there = out.exists()
    except OSError as error:
        raise InputError(f"{out}: cannot be a folder's name ({error.strerror})") from None
    if there and not out.is_dir():
        raise InputError(f"{out}: a file, not a folder for a dataset")
    if not out.is_dir() or not any(out.iterdir()):
        return
    if not is_dataset(out):
        raise InputError(f"{out}: not empty and not a dataset; name another folder with --out")
    foreign = sorted(path.name for path in out.iterdir() if path.name not in OWN_NAMES)
    if foreign:
        raise InputError(
            f"{out}: holds '{foreign[0]}', which is not part of a dataset; move it away or name"
            " another folder with --out"
        )


def write_files(
    folder: Path,
    user_ids: IdMap,
    item_ids: IdMap,
    splits: dict[str, Interactions],
    features: dict[str, tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]],
) -> dict[str, str]:
    """Write everything but the manifest; returns each file's SHA-256 by its path in ``folder``."""
    for name, ids in (("users.parquet", user_ids), ("items.parquet", item_ids)):
        rows = np.arange(len(ids), dtype=np.int64)
        pl.DataFrame({"row": rows, "id": pl.Series(ids.ids, dtype=pl.String)}).write_parquet(
            folder / name
        )
    for part, pairs in splits.items():
        pl.DataFrame({"user": pairs.users, "item": pairs.items}).write_parquet(
            folder / f"{part}.parquet"
        )
    for modality, (vectors, present) in features.items():
        home = folder / "features" / modality
        home.mkdir(parents=True)
        np.save(home / "vectors.npy", vectors, allow_pickle=False)
        np.save(home / "present.npy", present, allow_pickle=False)
    return {
        path.relative_to(folder).as_posix(): sha256_file(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def content_digests(
    user_ids: IdMap,
    item_ids: IdMap,
    splits: dict[str, Interactions],
    features: dict[str, tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]],
) -> dict[str, str]:
    """The SHA-256 of each part of the content, by its name; no library's file format is in it.

    A split's digest is over the original ids of its pairs: items or users that other parts gain
    move row numbers, but the split stays the same.
    """
    digests = {"users": _digest(user_ids.ids), "items": _digest(item_ids.ids)}
    for part, pairs in splits.items():
        users, user_codes = _coded(pairs.users, user_ids)
        items, item_codes = _coded(pairs.items, item_ids)
        order = np.lexsort((item_codes, user_codes))
        digests[part] = _digest(users, items, user_codes[order], item_codes[order])
    for modality, (vectors, present) in features.items():
        digests[f"features/{modality}"] = _digest(vectors, present)
    return digests


def _coded(rows: npt.NDArray[np.int64], ids: IdMap) -> tuple[list[str], npt.NDArray[np.int64]]:
    """The ids that occur, in the order of their text, and each row as a place among them."""
    distinct, place = np.unique(rows, return_inverse=True)
    names = [ids.ids[row] for row in distinct]
    order = sorted(range(len(names)), key=names.__getitem__)
    code = np.empty(len(names), np.int64)
    code[order] = np.arange(len(names))
    return [names[at] for at in order], code[place]


def _digest(*parts: list[str] | npt.NDArray[Any]) -> str:
    """SHA-256 over lists of text and arrays: type, shape and values, whatever the machine."""
    total = hashlib.sha256()
    for part in parts:
        if isinstance(part, list):
            total.update(json.dumps(part).encode())
            continue
        values = np.ascontiguousarray(part, part.dtype.newbyteorder("<"))
        total.update(f"{values.dtype.str} {values.shape}".encode())
        total.update(values.reshape(-1).view(np.uint8).data)
    return total.hexdigest()


class _Unchanged(Exception):  # noqa: N818 - not an error: leaves atomic_folder without a change
    """The dataset is already there."""


def write_dataset(
    out: Path, fill: Callable[[Path], Manifest], *, overwrite: bool
) -> tuple[bool, Manifest]:
    """Fill a new folder beside ``out`` and rename it to ``out`` once it is whole.

    Args:
        out: the dataset's folder; absent, empty, or a dataset.
        fill: writes everything but the manifest into the folder it is given, returns the manifest.
        overwrite: replace a dataset that differs. Its ``test_reads.jsonl`` is kept: replacing a
            dataset does not undo that its test split was read.

    Returns:
        Whether anything was written (False when ``out`` already was this very dataset and was left
        as it is), and the manifest.

    Raises:
        InputError: ``out`` holds another dataset, and ``overwrite`` is not given.
    """
    try:
        with atomic_folder(out) as new:
            manifest = fill(new)
            write_json(new / MANIFEST, manifest.model_dump(mode="json"))
            if is_dataset(out):
                differs = _difference(out, manifest)
                if differs is None:
                    raise _Unchanged
                if not overwrite:
                    raise InputError(
                        f"{out}: already holds a dataset, {differs}; add --overwrite to replace it,"
                        " or name another folder with --out"
                    )
                if (out / TEST_READS).is_file():
                    shutil.copyfile(out / TEST_READS, new / TEST_READS)
    except _Unchanged:
        return False, manifest
    return True, manifest


def _difference(out: Path, manifest: Manifest) -> str | None:
    """What tells the dataset in ``out`` from the one of ``manifest``; None when it is the same."""
    try:
        there = Dataset.open(out).manifest
    except InputError as error:
        return f"it cannot be opened: {error}"
    old, new = _origin(there), _origin(manifest)
    names = [name for name in old | new if old.get(name) != new.get(name)]
    if names:
        return "made " + ", ".join(_words(name, old, new) for name in names)
    return None if there.digest == manifest.digest else "with other content"


def _words(name: str, old: dict[str, Any], new: dict[str, Any]) -> str:
    """One difference of the dataset that is there; settings are told with both values."""
    if name not in new:
        return f"with {name}, which is not named now"
    if name not in old:
        return f"without {name}"
    if " " in name:  # a digest says nothing to a person
        return f"from another {name}"
    return f"with {name} {old[name]}, not {new[name]}"


def _origin(manifest: Manifest) -> dict[str, Any]:
    """Settings and source digests; not the paths, which may be written in many ways."""
    sources = {f"source '{name}'": source.sha256 for name, source in manifest.sources.items()}
    stores = {f"features '{name}'": it.source.sha256 for name, it in manifest.modalities.items()}
    return manifest.settings | sources | stores
