"""What a dataset folder says of itself: ``manifest.json``."""

import hashlib
import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from extract.errors import InputError
from extract.files import read_json
from mmssl.data.filters import Removed

SCHEMA_VERSION: Literal[2] = 2
MANIFEST = "manifest.json"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Source(_Part):
    """A file or store that the dataset was made from."""

    path: str
    sha256: str


class ModalityEntry(_Part):
    """One modality: what ``features/<modality>/`` holds."""

    dim: int
    present: int
    encoder: str | None
    source: Source


class Counts(_Part):
    """Sizes of the dataset."""

    users: int
    items: int
    train: int
    val: int
    test: int
    users_without_training: int
    items_without_training: int


class Manifest(_Part):
    """The manifest.

    ``contents`` maps each part of the content to its SHA-256 and decides ``digest``; ``files`` maps
    each file's path within the dataset to the SHA-256 of its bytes, which tells damage.
    """

    format: Literal["mmssl-dataset"] = "mmssl-dataset"
    schema_version: Literal[2] = SCHEMA_VERSION
    digest: str
    counts: Counts
    modalities: dict[str, ModalityEntry]
    settings: dict[str, Any]
    sources: dict[str, Source]
    removed: tuple[Removed, ...]
    contents: dict[str, str]
    files: dict[str, str]


def content_digest(contents: dict[str, str]) -> str:
    """The dataset's digest: SHA-256 over the digests of its contents.

    Not over its files: a Parquet file names the version of the library that wrote it.
    """
    return hashlib.sha256(json.dumps(contents, sort_keys=True).encode()).hexdigest()


def is_dataset(folder: Path) -> bool:
    """Whether the folder says that it is a dataset, of whatever version.

    Raises:
        InputError: its manifest is not readable as JSON.
    """
    path = folder / MANIFEST
    if not path.is_file():
        return False
    content = read_json(path)
    return isinstance(content, dict) and content.get("format") == "mmssl-dataset"


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of a dataset folder.

    Raises:
        InputError: the folder is not a dataset, or its manifest is of another version or broken.
    """
    path = folder / MANIFEST
    if not is_dataset(folder):
        raise InputError(f"{folder}: not a dataset; make one with `prepare`")
    content = read_json(path)
    if content.get("schema_version") != SCHEMA_VERSION:
        raise InputError(
            f"{path}: schema version {content.get('schema_version')}, but this version reads"
            f" {SCHEMA_VERSION}; run `prepare` again"
        )
    try:
        manifest = Manifest.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InputError(f"{path}: broken at '{where}' ({first['msg']})") from None
    if manifest.digest != content_digest(manifest.contents):
        raise InputError(f"{path}: its digest does not fit its contents; run `prepare` again")
    if "test" not in manifest.contents:
        raise InputError(f"{path}: broken at 'contents.test' (missing); run `prepare` again")
    return manifest
