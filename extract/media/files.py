"""Opening what a table points at: only regular files, only inside the folders the user named."""

import errno
import io
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO

from extract.media.names import canonical_forms, why_absent

CHANGED = "changed while it was read"
"""The reason of a file that was being written."""

LACKS_MEMORY = "out of memory while "
"""How the reasons begin of items for which memory ran out."""

_DEAD_LINK = "file not found (a symbolic link that leads nowhere)"
_UNREADABLE = "unreadable file"
_PASSING = (LACKS_MEMORY, f"{_UNREADABLE} (")


class MediaError(Exception):
    """One medium cannot be used; the message is the reason that its row in the store will bear."""


class UnavailableError(MediaError):
    """What the file holds could not be found out: it is missing, forbidden, or cannot be read."""


def resolve_inside(path: str, base: Path, roots: Sequence[Path]) -> Path:
    """The real path of a table's entry, refused where it leaves every media root.

    Args:
        path: as the table gives it; a relative path belongs to ``base``.
        base: the table's folder.
        roots: real paths (no symlink in them) of the folders that may be read.

    Returns:
        The path with every symlink and ``..`` resolved. Nothing has been opened.

    Raises:
        MediaError: the path lies outside all roots, or cannot be a path at all.
    """
    try:
        # realpath, because Path.resolve raises on a loop of symlinks before Python 3.13.
        real = Path(os.path.realpath(base / path))
    except (OSError, ValueError):
        raise MediaError("not a usable path") from None
    if not any(real.is_relative_to(root) for root in roots):
        if _is_dead_link(base / path, roots):
            raise UnavailableError(_DEAD_LINK)
        raise UnavailableError("outside the media roots")
    return real


@contextmanager
def open_inside(path: str, base: Path, roots: Sequence[Path]) -> Iterator[BinaryIO]:
    """Open what a table's entry names, if it is a regular file inside a media root.

    Args:
        path: as the table gives it.
        base: the table's folder.
        roots: real paths of the folders that may be read.

    Raises:
        MediaError: as ``resolve_inside`` and ``open_regular``; the path led elsewhere meanwhile;
            on leaving, the file's size or time of change is not what it was.
    """
    path = _existing(path, base, roots)
    with open_regular(resolve_inside(path, base, roots)) as handle:
        # A folder on the way may have become a symlink between the check and the opening: what was
        # opened has to be what a path inside the roots leads to still.
        try:
            there = os.lstat(resolve_inside(path, base, roots))
        except OSError:
            raise UnavailableError("moved while it was opened") from None
        opened = os.fstat(handle.fileno())
        if (there.st_dev, there.st_ino) != (opened.st_dev, opened.st_ino):
            raise UnavailableError("moved while it was opened")
        try:
            yield handle
        finally:
            # Also where decoding failed: half an upload looks like damage.
            now = os.fstat(handle.fileno())
            if (now.st_size, now.st_mtime_ns) != (opened.st_size, opened.st_mtime_ns):
                raise UnavailableError(CHANGED)


def _existing(path: str, base: Path, roots: Sequence[Path]) -> str:
    """The path, or its other Unicode spelling where only that exists.

    Raises:
        MediaError: there is no such file; as ``resolve_inside``.
    """
    for form in (path, *canonical_forms(path)):
        if not _is_absent(resolve_inside(form, base, roots)):
            return form
    raise UnavailableError(_DEAD_LINK if _is_dead_link(base / path, roots) else why_absent(path))


def _is_dead_link(path: Path, roots: Sequence[Path]) -> bool:
    """Whether a path is a symbolic link to nothing; of one that lies outside all roots, no."""
    place = Path(os.path.realpath(path.parent)) / path.name
    if not any(place.is_relative_to(root) for root in roots):
        return False
    # Not Path.is_symlink, which raises where the name is too long.
    return os.path.islink(place) and _is_absent(Path(os.path.realpath(place)))  # noqa: PTH114


def _is_absent(path: Path) -> bool:
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError as error:
        return error.errno == errno.ENAMETOOLONG
    return False


def refuse_larger(handle: BinaryIO, most: int) -> None:
    """Refuse a file of more than ``most`` bytes before any is read; goes back to the beginning.

    Raises:
        MediaError: it is larger.
    """
    size = handle.seek(0, io.SEEK_END)
    handle.seek(0)
    if size > most:
        raise MediaError(too_large(most))


def unreadable(words: str | None) -> str:
    """The reason of a file that its device or its store does not give, in the system's words."""
    return f"{_UNREADABLE} ({words})"


def passes(reason: str | None) -> bool:
    """Whether a failure's reason says nothing of the content: the same bytes may succeed."""
    return reason is not None and (reason == CHANGED or reason.startswith(_PASSING))


def too_large(most: int) -> str:
    """The reason of a file of more than ``most`` bytes."""
    return f"file too large (more than {most} bytes)"


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
        raise UnavailableError("file not found") from None
    except PermissionError:
        raise UnavailableError("no permission to read the file") from None
    except OSError as error:
        raise UnavailableError(unreadable(error.strerror)) from None
    with handle:
        opened = os.fstat(handle.fileno())
        if not stat.S_ISREG(opened.st_mode):
            raise MediaError("not a regular file")
        if opened.st_size == 0:
            raise MediaError("empty file")
        yield handle
