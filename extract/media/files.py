"""Opening what a table points at: only regular files, only inside the folders the user named."""

import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import BinaryIO, cast

from upath import UPath

from extract.errors import InputError
from extract.locations import Location, is_url

_IN_MEMORY = 32 * 2**20


class MediaError(Exception):
    """One medium cannot be used; the message is the reason that its row in the store will bear."""


def resolve_inside(path: str, base: Location, roots: Sequence[Location]) -> Location:
    """The real place of a table's entry, refused where it leaves every media root.

    Args:
        path: as the table gives it; a relative path belongs to ``base``, a URL to itself.
        base: the table's folder.
        roots: the folders that may be read: real paths (no symlink in them), or remote places.

    Returns:
        A path with every symlink and ``..`` resolved, or a remote place. Nothing has been opened.

    Raises:
        MediaError: the path lies outside all roots, or cannot be a path at all.
    """
    if is_url(path) or not isinstance(base, Path):
        return _resolve_remote(path, base, roots)
    try:
        # realpath, because Path.resolve raises on a loop of symlinks before Python 3.13.
        real = Path(os.path.realpath(base / path))
    except (OSError, ValueError):
        raise MediaError("not a usable path") from None
    if not any(real.is_relative_to(root) for root in roots if isinstance(root, Path)):
        raise MediaError("outside the media roots")
    return real


def _resolve_remote(path: str, base: Location, roots: Sequence[Location]) -> Location:
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
    raise MediaError("outside the media roots")


@contextmanager
def open_inside(path: str, base: Location, roots: Sequence[Location]) -> Iterator[BinaryIO]:
    """Open what a table's entry names, if it is a regular file inside a media root.

    Args:
        path: as the table gives it.
        base: the table's folder.
        roots: the folders that may be read: real paths, or remote places.

    Raises:
        MediaError: as ``resolve_inside``, ``open_regular`` and ``open_remote``, or the path led
            elsewhere meanwhile.
        InputError: as ``open_remote``.
    """
    place = resolve_inside(path, base, roots)
    if not isinstance(place, Path):
        with open_remote(place) as fetched:
            yield fetched
        return
    with open_regular(place) as handle:
        # A folder on the way may have become a symlink between the check and the opening: what was
        # opened has to be what a path inside the roots leads to still.
        try:
            there = os.lstat(str(resolve_inside(path, base, roots)))
        except OSError:
            raise MediaError("moved while it was opened") from None
        opened = os.fstat(handle.fileno())
        if (there.st_dev, there.st_ino) != (opened.st_dev, opened.st_ino):
            raise MediaError("moved while it was opened")
        yield handle


@contextmanager
def open_regular(path: Path) -> Iterator[BufferedReader]:
    """Open a regular file for reading; a folder, FIFO, socket or device is refused, never opened.

    Raises:
        MediaError: missing, not a regular file, not permitted, empty, or the device fails.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise MediaError("not a regular file")
        # Should the file become a FIFO after the check, O_NONBLOCK keeps open() from waiting.
        handle = os.fdopen(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb")
    except (FileNotFoundError, NotADirectoryError):
        raise MediaError("file not found") from None
    except PermissionError:
        raise MediaError("no permission to read the file") from None
    except OSError as error:
        raise MediaError(f"unreadable file ({error.strerror})") from None
    with handle:
        opened = os.fstat(handle.fileno())
        if not stat.S_ISREG(opened.st_mode):
            raise MediaError("not a regular file")
        if opened.st_size == 0:
            raise MediaError("empty file")
        yield handle


@contextmanager
def open_remote(place: UPath) -> Iterator[BinaryIO]:
    """Fetch a remote file, into memory or, if it is large, into a temporary file.

    Raises:
        MediaError: missing, empty, not a file, not permitted, or refused otherwise.
        InputError: the remote store cannot be reached: that is no fault of this file, and to record
            it as one would fill the features with gaps.
    """
    with SpooledTemporaryFile(max_size=_IN_MEMORY) as copy:
        try:
            with place.fs.open(place.path, "rb") as source:
                shutil.copyfileobj(source, copy, 2**20)
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
