"""Writing so that a kill never leaves half a file, and digests of what was read."""

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from extract.errors import InputError
from extract.locations import Location

# None: numpy counts what it could not write, without a number for the cause.
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, None)


@contextmanager
def _write_errors(path: Path) -> Iterator[None]:
    """Turn the system's refusal to write, by whatever library it is reported, into one line."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        # polars and safetensors have errors of their own for it, with Rust's words for the cause.
        refused = isinstance(error, OSError) and error.errno in _NO_ROOM
        if not refused and "(os error " not in str(error):
            raise
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise InputError(f"{path}: cannot be written ({' '.join(str(reason).split())})") from None


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success it is synced and renamed to ``path``.

    A reader sees the old file or the whole new one, never a part. On an exception the temporary
    file is removed and ``path`` is untouched.

    Raises:
        InputError: no file can be made there.
    """
    temporary = _file_beside(path)
    try:
        with _write_errors(path):
            yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        # mkstemp makes 0600; a person's umask decides who may read what they made.
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder beside ``folder``; on success it is synced and takes its place.

    A folder already there is replaced, by two renames: a reader sees the old one, none, or the
    whole new one, never a mixture. On an exception ``folder`` is untouched.

    Raises:
        InputError: no folder can be made there.
    """
    try:
        # A link stays, and what it points to is replaced.
        folder = folder.resolve()
        if folder == Path.cwd():
            raise InputError(
                f"{folder}: the folder that you are in cannot be replaced; name another"
            )
        folder.parent.mkdir(parents=True, exist_ok=True)
        made = tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}.", suffix=".tmp")
    except (OSError, RuntimeError) as error:  # RuntimeError: links that go round
        raise InputError(
            f"{folder}: cannot be written ({getattr(error, 'strerror', error)})"
        ) from None
    temporary = Path(made)
    replaced = temporary.with_suffix(".old")
    try:
        with _write_errors(folder):
            yield temporary
        for path in temporary.rglob("*"):
            if path.is_file():
                with path.open("rb") as written:
                    os.fsync(written.fileno())
                # Some writers, safetensors among them, make 0600 too.
                path.chmod(0o666 & ~_umask())
        temporary.chmod(0o777 & ~_umask())
        if folder.exists():
            folder.rename(replaced)
        try:
            temporary.rename(folder)
        except OSError:
            if replaced.exists():
                replaced.rename(folder)
            raise
        shutil.rmtree(replaced, ignore_errors=True)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def require_writable(path: Path) -> None:
    """Find out before long work, or before work that counts, that its result can be written.

    Raises:
        InputError: no file can be made at ``path``.
    """
    _file_beside(path).unlink()


def _file_beside(path: Path) -> Path:
    try:
        if path.is_dir():
            raise InputError(f"{path}: a folder stands where the file should be")
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror})") from None
    os.close(handle)
    return Path(name)


def remove_leftovers(path: Path) -> None:
    """Delete what kills during ``atomic_path`` or ``atomic_folder`` left beside ``path``.

    Only for who knows that nobody is writing ``path`` now.
    """
    for found in leftovers(path):
        if found.is_dir():
            shutil.rmtree(found)
        else:
            found.unlink()


def leftovers(path: Path) -> list[Path]:
    """What kills during ``atomic_path`` or ``atomic_folder`` left beside ``path``."""
    if not path.parent.is_dir():
        return []
    return [
        found
        for found in path.parent.iterdir()
        if found.name.startswith(f".{path.name}.") and found.suffix in (".tmp", ".old")
    ]


def _umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask


def write_bytes(path: Location, data: bytes | memoryview) -> None:
    """Write a file atomically, here or in a remote store.

    Raises:
        InputError: it cannot be written.
    """
    if isinstance(path, Path):
        with atomic_path(path) as temporary:
            temporary.write_bytes(data)
        return
    try:
        path.fs.pipe_file(path.path, bytes(data))
    except Exception as error:  # whatever the library of that store raises
        raise InputError(f"{path}: cannot be written ({' '.join(str(error).split())})") from None


def write_text(path: Location, text: str) -> None:
    """Write UTF-8 text atomically."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Location, value: Any) -> None:
    """Write JSON atomically, indented, keys in the order given."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Location) -> Any:
    """Read a JSON file.

    Raises:
        InputError: the file is missing or is not JSON; the message names file and line.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (json.JSONDecodeError, UnicodeDecodeError, OSError) as error:
        raise InputError(f"{path}: not readable as JSON ({error})") from None


def sha256_file(path: Path) -> str:
    """The SHA-256 of a file's bytes, as hexadecimal digits."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
