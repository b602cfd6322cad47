"""Media in remote stores (S3 and the like): where a table may point, and fetching them."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from tempfile import SpooledTemporaryFile
from typing import BinaryIO, cast

from upath import UPath

from extract.errors import InputError
from extract.locations import Location, is_url
from extract.media.files import MediaError, too_large

_IN_MEMORY = 32 * 2**20


def resolve_remote(path: str, base: Location, roots: Sequence[Location]) -> UPath:
    """The remote place of a table's entry, refused where it leaves every media root.

    Args:
        path: as the table gives it: a URL, or a path that belongs to a remote ``base``.
        base: the table's folder.
        roots: the folders that may be read.

    Raises:
        MediaError: the place lies outside all roots.
    """
    if is_url(path):
        scheme = path.partition(":")[0].lower()
        within = [root for root in roots if isinstance(root, UPath) and root.protocol == scheme]
    else:
        within = [base] if isinstance(base, UPath) and not path.startswith("/") else []
    for root in within:
        folder = root.path.rstrip("/")
        place = str(root.fs._strip_protocol(path)) if is_url(path) else f"{folder}/{path}"
        # A store of objects has no folder above: there ".." could only lead a reader astray.
        if place.startswith(f"{folder}/") and ".." not in place.split("/"):
            return root.with_segments(root.fs.unstrip_protocol(place))
    if is_url(path):
        raise MediaError("a URL outside the media roots (--media-root permits a folder of them)")
    raise MediaError("outside the media roots")


@contextmanager
def open_remote(place: UPath, most: int) -> Iterator[BinaryIO]:
    """Fetch a remote file, into memory or, if it is large, into a temporary file.

    Args:
        place: where it is.
        most: bytes; a larger file is not fetched.

    Raises:
        MediaError: missing, empty, too large, not a file, not permitted, or refused otherwise.
        InputError: the remote store cannot be reached: that is no fault of this file, and to record
            it as one would fill the features with gaps.
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
            raise MediaError("file not found") from None
        except PermissionError:
            raise MediaError("no permission to read the file") from None
        except IsADirectoryError:
            raise MediaError("not a regular file") from None
        except Exception as error:
            words = " ".join(str(error).split())[:200] or type(error).__name__
            # Libraries turn what a store answers into an OSError; what they cannot ask they report
            # by their own classes, or as a broken connection.
            if isinstance(error, OSError) and not isinstance(error, ConnectionError | TimeoutError):
                raise MediaError(f"unreadable file ({words})") from None
            raise InputError(
                f"{place}: cannot be reached ({words}); finished parts are kept: run the same"
                " command again when it can"
            ) from None
        if copy.tell() == 0:
            raise MediaError("empty file")
        copy.seek(0)
        yield cast(BinaryIO, copy)
