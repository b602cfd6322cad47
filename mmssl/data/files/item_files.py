"""Features as one ``.npy`` an item, in folders of which each has the vectors of one encoder.

So Ducho writes them (``ducho/internal/father_classes/DatasetFather.py``, ``create_output_file``):
``<output>/<backend>/<model>/<layer>/<name>.npy``, where the outputs of its configurations are
``visual_embeddings``, ``textual_embeddings`` and ``audio_embeddings``. ``features export --to
ducho`` writes the same, and ``names.csv`` beside the backend's folder to say whose a file is.
"""

import hashlib
import os
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from extract.errors import InputError
from extract.export.ducho import NAMES, file_name
from mmssl.data.features import SourceFeatures, load_npy
from mmssl.data.files.delimited import read_delimited
from mmssl.data.files.finding import files_ending

_OURS = {"visual": "image", "textual": "text"}
_THEIRS = {ours: theirs for theirs, ours in _OURS.items()}
_ENDING = "_embeddings"


def find_item_folders(root: Path) -> dict[str, Path]:
    """The innermost folders of a source's folder that hold ``.npy`` files, by modality.

    The first folder's name is the modality, ``visual_embeddings`` being ``image`` and
    ``textual_embeddings`` ``text``; where there are several in it, as of two encoders, the names of
    backend, model and layer follow: ``image-torch-ResNet50-avgpool``.
    """
    inside: dict[str, list[Path]] = {}
    for folder in _folders(root):
        first, *_ = folder.relative_to(root).parts
        word = first.removesuffix(_ENDING)
        inside.setdefault(_OURS.get(word, _plain(word)), []).append(folder)
    found = {}
    for modality, folders in inside.items():
        for folder in folders:
            rest = "".join(f"-{_plain(part)}" for part in folder.relative_to(root).parts[1:])
            found[modality if len(folders) == 1 else modality + rest] = folder
    return found


def modality_folder(modality: str) -> str:
    """The name of a modality's folder, in Ducho's words: ``image`` is in ``visual_embeddings``."""
    return _THEIRS.get(modality, modality) + _ENDING


def read_item_files(
    folder: Path,
    root: Path,
    known: Collection[str],
    numbered: Sequence[str] | None = None,
) -> SourceFeatures:
    """Read the vectors of a folder.

    Args:
        folder: of ``<name>.npy``, each a vector, (dim,) or (1, dim).
        root: where ``names.csv`` is looked for, from ``folder`` up.
        known: ids of items with interactions. A file is of the id that is its name, up to ``.npy``
            or up to the first dot, or that ``features export`` would give this name.
        numbered: ids by number, if the files have numbers for names.

    Raises:
        InputError: a file is no vector of real numbers, or of another length than the others; it is
            not in ``names.csv``; two files are the same item's, or two items could have the file.
    """
    paths = files_ending(folder, ".npy")
    owners = _owners(paths, folder, root, known, numbered)
    ids: dict[str, Path] = {}
    rows: list[NDArray[np.float32]] = []
    digest = hashlib.sha256()
    for path in paths:
        id_ = owners[path]
        if ids.setdefault(id_, path) != path:
            raise InputError(f"{path}: of item '{id_}', as {ids[id_].name} is; remove one of them")
        if re.search("[\ud800-\udfff]", path.name):
            raise InputError(f"{str(path)!a}: the name is not UTF-8; rename the file")
        rows.append(_vector(path))
        if rows[0].shape != rows[-1].shape:
            raise InputError(
                f"{path}: {len(rows[-1])} numbers, where {paths[0].name} has {len(rows[0])}"
            )
        digest.update(path.name.encode() + b"\0" + rows[-1].tobytes())
    vectors = np.stack(rows)
    present = np.asarray(np.isfinite(vectors).all(axis=1), dtype=np.bool_)
    vectors[~present] = 0
    return SourceFeatures(list(ids), vectors, present, None, digest.hexdigest())


def write_item_files(source: SourceFeatures, names: Mapping[str, str], folder: Path) -> None:
    """Write a float32 (dim,) for each item with a vector, and no file for one without.

    Args:
        source: the vectors.
        names: id to the file's name without ``.npy``.
        folder: made, within a folder that is renamed once all is written.
    """
    folder.mkdir(parents=True)
    for id_, vector, there in zip(source.ids, source.vectors, source.present, strict=True):
        if there:
            with (folder / f"{names[id_]}.npy").open("xb") as handle:
                np.save(handle, vector, allow_pickle=False)


def _folders(root: Path) -> list[Path]:
    """The folders below ``root`` that hold ``.npy`` files, hidden ones left out."""
    found = []
    for folder, below, _ in os.walk(root):
        below[:] = [name for name in below if not name.startswith(".")]
        if Path(folder) != root and files_ending(Path(folder), ".npy"):
            found.append(Path(folder))
    return sorted(found)


def _plain(word: str) -> str:
    """A folder's name as a part of a modality's."""
    return re.sub(r"[^\w-]", "_", word)


def _owners(
    paths: list[Path],
    folder: Path,
    root: Path,
    known: Collection[str],
    numbered: Sequence[str] | None,
) -> dict[Path, str]:
    listed = next(
        (
            above
            for above in (folder, *folder.parents)
            if above.is_relative_to(root) and (above / NAMES).is_file()
        ),
        None,
    )
    if listed is not None:
        return _listed_owners(paths, listed)
    if numbered is not None:
        return {path: _numbered_owner(path, numbered) for path in paths}
    written: dict[str, str] = {}
    twice: dict[str, tuple[str, str]] = {}
    for id_ in known:
        other = written.setdefault(file_name(id_), id_)
        if other != id_:
            twice[file_name(id_)] = (other, id_)
    owners = {}
    for path in paths:
        stem = path.name.removesuffix(".npy")
        names = [name for name in (stem, stem.split(".")[0]) if name in known]
        if not names and stem in twice:
            first, second = sorted(twice[stem])
            raise InputError(
                f"{path}: may be of item '{first}' or of '{second}'; say whose it is in a {NAMES}"
            )
        owners[path] = names[0] if names else written.get(stem, stem)
    return owners


def _listed_owners(paths: list[Path], above: Path) -> dict[Path, str]:
    table = read_delimited(above / NAMES, ",", quoted=True)
    ids = table.unique_ids("item_id")
    files = table.unique_ids("file")
    owner = dict(zip(files, ids, strict=True))
    owners = {}
    for path in paths:
        name = path.relative_to(above).as_posix()
        if name not in owner:
            raise InputError(f"{path}: in no line of {table.path}; add it, or remove the file")
        owners[path] = owner[name]
    return owners


def _numbered_owner(path: Path, numbered: Sequence[str]) -> str:
    stem = path.name.split(".")[0]
    if not (stem.isascii() and stem.isdigit() and int(stem) < len(numbered)):
        raise InputError(
            f"{path}: '{stem}' is no line of item_ids.txt, which has {len(numbered)}, from 0"
        )
    return numbered[int(stem)]


def _vector(path: Path) -> NDArray[np.float32]:
    array = load_npy(path)
    if array.dtype.kind not in "fiu" or array.size == 0 or array.size != array.shape[-1]:
        raise InputError(
            f"{path}: must be a vector of real numbers; it is {array.dtype} {array.shape}"
        )
    # A float64 beyond float32's range becomes infinite, and the item is without a vector.
    with np.errstate(over="ignore"):
        return array.reshape(-1).astype(np.float32)
