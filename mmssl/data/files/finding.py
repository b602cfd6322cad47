"""Files of a source's folder: which there are, opened and unpacked, what the first line says."""

import codecs
import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from extract.errors import InputError

_LONGEST = 2**16
_BLANK_LINES = 100


def files_ending(source: Path, ending: str) -> list[Path]:
    """The files whose names end so, with something before it, in the order of their names.

    Hidden files are left out: some systems write ``._image_feat.npy`` beside ``image_feat.npy``.

    Args:
        source: a folder, or the file itself.
        ending: as ``_feat.npy``.
    """
    paths = sorted(source.iterdir()) if source.is_dir() else [source]
    return [
        path
        for path in paths
        if path.name.endswith(ending) and path.name != ending and not path.name.startswith(".")
    ]


@contextmanager
def open_unpacked(path: Path) -> Iterator[IO[bytes]]:
    """A file to read; one that ends in ``.gz`` is unpacked on the way.

    Raises:
        InputError: missing or not readable, also where it shows only later on.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as handle:
            yield cast(IO[bytes], handle)
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{path}: no such file") from None
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path}: not readable ({reason})") from None


def first_line(path: Path) -> str:
    """The first line that is not blank, without its end; "" where there is none to be read.

    Bytes that are not UTF-8 are replaced: what is wrong with a file is said by who reads it whole.
    """
    try:
        with open_unpacked(path) as handle:
            for number in range(_BLANK_LINES):
                line = handle.readline(_LONGEST)
                if number == 0:
                    line = line.removeprefix(codecs.BOM_UTF8)
                if line.strip():
                    return line.decode(errors="replace").rstrip("\r\n")
    except InputError:
        pass
    return ""
