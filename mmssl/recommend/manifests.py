"""Manifests of folders that hold a model or an index: read with care, and held to their digests."""

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from extract.errors import InputError
from extract.files import read_json, sha256_file

Manifest = TypeVar("Manifest", bound=BaseModel)


def read_versioned(path: Path, kind: type[Manifest]) -> Manifest:
    """A manifest of schema version 1.

    Raises:
        InputError: of another version, or not as ``kind`` has it.
    """
    values = read_json(path)
    found = values.get("schema_version") if isinstance(values, dict) else None
    if found != 1:
        raise InputError(f"{path}: schema version {found!r}; this version reads 1")
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InputError(f"{path}: {where}: {first['msg']}") from None


def require_whole(folder: Path, files: Mapping[str, str], missing: str, changed: str) -> None:
    """Refuse a folder of which a file is not there, or not the one that the manifest means.

    Args:
        folder: where the files are.
        files: name -> SHA-256.
        missing, changed: what is said of such a file, after its path.

    Raises:
        InputError: the first file of either kind.
    """
    for name, digest in files.items():
        if not (folder / name).is_file():
            raise InputError(f"{folder / name}: missing; {missing}")
        if sha256_file(folder / name) != digest:
            raise InputError(f"{folder / name}: changed or damaged{changed}")
