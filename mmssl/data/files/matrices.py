"""Features as one matrix a modality, ``<modality>_feat.npy``, as many tools have them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from extract.errors import InputError
from extract.files import atomic_path
from mmssl.data.features import SourceFeatures, read_features
from mmssl.data.files.finding import files_ending
from mmssl.data.ids import IdMap

_ENDING = "_feat"


def find_matrices(folder: Path, ending: str = _ENDING) -> dict[str, Path]:
    """The matrices of a folder by modality: ``{"image": folder/image_feat.npy}``.

    A name without a modality, ``_feat.npy``, is none of them.

    Args:
        folder: the folder.
        ending: what stands between modality and ``.npy``.
    """
    suffix = f"{ending}.npy"
    return {path.name.removesuffix(suffix): path for path in files_ending(folder, suffix)}


def read_matrix(path: Path, ids: Sequence[str] | None = None) -> SourceFeatures:
    """Read a matrix with what ``read_features`` finds beside it.

    Args:
        path: the ``.npy``, (n, dim) real numbers.
        ids: of the rows; None: as ``read_features`` has them.

    Raises:
        InputError: not such a file, or of another length than the ids.
    """
    source = read_features(path)
    if ids is None:
        return source
    if len(ids) != len(source.ids):
        raise InputError(
            f"{path}: {len(source.ids)} rows for {len(ids)} items; one row an item is needed"
        )
    return replace(source, ids=list(ids))


def write_matrices(
    features: Mapping[str, SourceFeatures], item_ids: IdMap, folder: Path, ending: str = _ENDING
) -> list[str]:
    """Write ``<modality>_feat.npy``, float32, row r the item of row r in ``item_ids``.

    A row without a vector is zeros; where there are such, ``<modality>_feat.mask.npy`` says which
    rows are real, as ``features export`` does. ``ending`` is as of ``find_matrices``.

    Returns:
        A note for each modality with such rows.
    """
    notes = []
    for modality, source in features.items():
        vectors, present = source.aligned(item_ids)
        arrays: dict[Path, NDArray[Any]] = {folder / f"{modality}{ending}.npy": vectors}
        if not present.all():
            mask = f"{modality}{ending}.mask.npy"
            arrays[folder / mask] = present
            notes.append(
                f"{modality}: {int((~present).sum()):,} of {len(present):,} items have no vector,"
                f" and a row of zeros; {mask} tells which"
            )
        for path, array in arrays.items():
            with atomic_path(path) as temporary, temporary.open("wb") as handle:
                np.save(handle, array, allow_pickle=False)
    return notes


def write_ids(ids: Sequence[str], path: Path) -> None:
    """Write a list of ids, one a line.

    Raises:
        InputError: an id holds a line break.
    """
    broken = next((id_ for id_ in ids if "\n" in id_ or "\r" in id_), None)
    if broken is not None:
        raise InputError(f"{path.name}: the id {broken!r} holds a line break; mend the id")
    with atomic_path(path) as temporary:
        temporary.write_text("".join(f"{id_}\n" for id_ in ids), encoding="utf-8", newline="\n")


def row_order(interacted: set[str], all_items: Sequence[str]) -> list[str]:
    """Item ids in the order of rows, for tools that count items by the highest number they meet.

    The last row has to be an item with interactions, or their count would be short of the features'
    rows, and their models stop at the difference; where it is not, the last item with interactions
    is moved there.

    Args:
        interacted: items with interactions.
        all_items: distinct ids, in the order wanted.
    """
    last = next((id_ for id_ in reversed(all_items) if id_ in interacted), None)
    if last is None:
        return list(all_items)
    return [*(id_ for id_ in all_items if id_ != last), last]
