"""Media in remote stores (S3 and the like): where a table may point, and fetching them."""

import errno
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from tempfile import SpooledTemporaryFile
from typing import BinaryIO, cast
from urllib.parse import unquote

from upath import UPath

from extract.errors import InputError
from extract.locations import Location, is_url
from extract.media.files import MediaError, UnavailableError, too_large, unreadable

_IN_MEMORY = 32 * 2**20

# What a store's library makes of "slow down", "internal error", "service unavailable", and of
# answers that it does not know: the store's fault, not the file's.
_OUT_OF_ORDER = {errno.EBUSY, errno.EIO, getattr(errno, "EREMOTEIO", errno.EIO)}


def resolve_remote(path: str, base: Location, roots: Sequence[Location]) -> tuple[UPath, UPath]:
    """The remote place of a table's entry, and the root that it is below.

    Args:
        path: as the table gives it: a URL, or a path that belongs to a remote ``base``.
        base: the table's folder.
        roots: the folders that may be read.

    Raises:
        UnavailableError: the place lies outside all roots.
    """
    if is_url(path):
        scheme = path.partition(":")[0].lower()
        within = [root for root in roots if isinstance(root, UPath) and root.protocol == scheme]
    else:
        within = [base] if isinstance(base, UPath) and not path.startswith("/") else []
    for root in within:
        folder = root.path.rstrip("/")
        place = str(root.fs._strip_protocol(path)) if is_url(path) else f"{folder}/{path}"
        if place.startswith(f"{folder}/") and not _leads_up(place):
            return root.with_segments(root.fs.unstrip_protocol(place)), root
    if is_url(path):
        raise UnavailableError(
            "a URL outside the media roots (--media-root permits a folder of them)"
        )
    raise UnavailableError("outside the media roots")


def _leads_up(place: str) -> bool:
    """Whether a place has a ``..``, however it is written.

    A store of objects has no folder above: there it could only lead a reader astray. A library
    for URLs, or a server, resolves ``%2e%2e``, ``..%2f`` and ``..\\`` as well, some of them after
    the second decoding.
    """
    while (decoded := unquote(place)) != place:
        place = decoded
    return ".." in place.replace("\\", "/").split("/")


@contextmanager
def open_remote(place: UPath, root: UPath, most: int) -> Iterator[BinaryIO]:
    """Fetch a remote file, into memory or, if it is large, into a temporary file.

    Args:
        place: where it is.
        root: the folder above it that may be read; asked for where the file is refused.
        most: bytes; a larger file is not fetched.

    Raises:
        MediaError: empty, too large or not a file; an UnavailableError where it is missing, not
            permitted although its root is, or refused otherwise.
        InputError: the remote store cannot be reached, is out of order or overloaded, or refuses
            the root too (credentials that have expired): that is no fault of this file, and to
            record it as one would fill the features with gaps.
    """
    with SpooledTemporaryFile(max_size=_IN_MEMORY) as copy:
        try:
            with place.fs.open(place.path, "rb") as source:
                if (getattr(source, "size", None) or 0) > most:
                    raise MediaError(too_large(most))
                shutil.copyfileobj(source, copy, 2**20)
        except MediaError:
            raise
        except FileNotFoundError:
            raise UnavailableError("file not found") from None
        except IsADirectoryError:
            raise MediaError("not a regular file") from None
        except Exception as error:
            if _is_outage(error):
                raise _outage(place, error) from None
            if _is_refusal(error):
                _check_root(root)
            if isinstance(error, PermissionError):
                raise UnavailableError("no permission to read the file") from None
            raise UnavailableError(unreadable(_words(error))) from None
        if copy.tell() == 0:
            raise MediaError("empty file")
        copy.seek(0)
        yield cast(BinaryIO, copy)


def _is_outage(error: Exception) -> bool:
    # Libraries turn what a store answers into an OSError; what they cannot ask they report by their
    # own classes, or as a broken connection.
    if not isinstance(error, OSError) or isinstance(error, ConnectionError | TimeoutError):
        return True
    return error.errno in _OUT_OF_ORDER


def _is_refusal(error: Exception) -> bool:
    # To a question for a file's size S3 answers by a bare number, which for a token that has
    # expired is "bad request": that becomes EINVAL.
    return isinstance(error, PermissionError) or getattr(error, "errno", None) == errno.EINVAL


def _check_root(root: UPath) -> None:
    """Find out whether a root may be read, where a file below it may not.

    Raises:
        InputError: it may not, or the store cannot be asked.
    """
    try:
        root.fs.info(root.path)
    except FileNotFoundError:
        return  # The store answers whoever asks; some have no folders that could be asked for.
    except Exception as error:
        if _is_outage(error) or _is_refusal(error):
            raise _outage(root, error) from None


def _outage(place: UPath, error: Exception) -> InputError:
    return InputError(
        f"{place}: cannot be reached ({_words(error)}); finished parts are kept: run the same"
        " command again when it can"
    )


def _words(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
