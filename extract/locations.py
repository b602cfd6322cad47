"""Where things are: a local path, or a place in a remote store (s3://, gs://, hf://, ...).

Remote places are fsspec's, through universal-pathlib: they behave as paths do. Credentials and
endpoints come from where each store's own library looks for them (AWS_ENDPOINT_URL, ...).
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, TypeAlias

from pydantic import PlainSerializer, PlainValidator
from upath import UPath

from extract.errors import InputError

Location: TypeAlias = Path | UPath

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")

_EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs"}


def parse_location(value: Any) -> Location:
    """The place that a text names: ``scheme://...`` is remote (but file:// is local).

    Raises:
        ValueError: an unknown scheme, or its library is not installed; the message says which.
    """
    if isinstance(value, Path | UPath):
        return value
    if not isinstance(value, str):
        raise ValueError("a path or a URL is text")
    url = _URL.match(value)
    if url is None:
        return Path(value)
    scheme = url[1].lower()
    if scheme in ("file", "local"):
        return Path(value[url.end() :])
    if len(value) == url.end():
        raise ValueError(f"nothing stands behind {value}")
    try:
        # Without fsspec's caches of folders: other processes write to the same place.
        place = UPath(value, use_listings_cache=False)
        place.fs  # noqa: B018 - made on first use; what is missing shall show now
    except ImportError as error:
        extra = _EXTRAS.get(scheme)
        remedy = f"pip install 'mmssl-toolkit[{extra}]'" if extra else " ".join(str(error).split())
        raise ValueError(f"{scheme}:// needs another library: {remedy}") from None
    except Exception as error:
        # fsspec and the libraries below it raise whatever they like for a place they do not know.
        raise ValueError(f"{value} cannot be reached ({' '.join(str(error).split())})") from None
    return place


def location(text: str) -> Location:
    """``parse_location`` of what a person typed.

    Raises:
        InputError: in place of the ValueError.
    """
    try:
        return parse_location(text)
    except ValueError as error:
        raise InputError(f"{text}: {error}") from None


# Libraries through which remote stores are reached, by the first part of their modules' names.
_REMOTE = {
    *("aiobotocore", "botocore", "s3fs", "aiohttp", "gcsfs", "google", "adlfs", "azure"),
    *("huggingface_hub", "httpx", "httpcore", "httpx2", "httpcore2"),
    *("requests", "urllib3", "fsspec"),
}


def remote_failure(error: BaseException) -> str | None:
    """What an exception of a remote store's library says, in one line; None for any other.

    A store that cannot be reached, credentials that are wrong: each library has classes of its own
    for them, which are no OSErrors.
    """
    if not any(kind.__module__.partition(".")[0] in _REMOTE for kind in type(error).__mro__):
        return None
    words = " ".join(str(error).split())[:300] or type(error).__name__
    return f"a remote store cannot be used ({type(error).__name__}: {words})"


@contextmanager
def remote_errors() -> Iterator[None]:
    """Turn what a remote store's library raises into one line.

    Raises:
        InputError: in its place.
    """
    try:
        yield
    except Exception as error:
        said = remote_failure(error)
        if said is None:
            raise
        raise InputError(said) from error


def is_url(text: str) -> bool:
    """Whether a text names a remote place."""
    return _URL.match(text) is not None


LocationField: TypeAlias = Annotated[
    Path | UPath, PlainValidator(parse_location), PlainSerializer(str)
]
"""A field of a pydantic model that holds a ``Location``."""
