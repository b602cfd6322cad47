"""Files of ``item,text`` lines, split at the first comma, as MicroLens has its titles."""

import codecs
import re
from pathlib import Path

import polars as pl

from extract.errors import InputError
from mmssl.data.files.delimited import write_delimited

_ID = re.compile(r'(?:"((?:[^"]|"")*)"|([^,]*)),')
_WHOLE = re.compile(r'"(?:[^"]|"")*"')
_NUMBERED = re.compile(r"[0-9]+,")
# What the first field of a header is called.
_HEADERS = ("item", "item_id", "itemid", "video", "video_id", "videoid")


def read_first_comma(path: Path, name: str) -> pl.DataFrame:
    """Read such a file, with or without a header.

    Quotes around a whole value are taken off, and one that is not closed, of an item whose id is a
    number, goes on until the next line that begins with a number; any other quote is a character.

    Args:
        path: the file.
        name: the second column's.

    Returns:
        ``item_id``, distinct, and the text, null where empty.

    Raises:
        InputError: missing, empty, not UTF-8; a line without a comma, without an id or with one
            that was there.
    """
    texts: dict[str, str] = {}
    lines: dict[str, int] = {}
    open_id: str | None = None
    for number, line in enumerate(_lines(path), start=1):
        if open_id is not None and not _NUMBERED.match(line):
            texts[open_id] += f"\n{line}"
            closed = line.endswith('"') and _WHOLE.fullmatch(texts[open_id])
            open_id = None if closed else open_id
            continue
        open_id = None
        if not line:
            continue
        match = _ID.match(line)
        if match is None:
            raise InputError(
                f"{path}, line {number}, column 2: no {name}; a line is an item, a comma and its"
                f" {name}"
            )
        id_ = match[2] if match[1] is None else match[1].replace('""', '"')
        if not id_.strip():
            raise InputError(f"{path}, line {number}, column 1: the id is empty")
        if id_ in lines:
            raise InputError(
                f"{path}, line {number}, column 1: id '{id_}' stands in line {lines[id_]} already"
            )
        if number == 1 and id_.lower() in _HEADERS:
            continue
        lines[id_], texts[id_] = number, line[match.end() :]
        # Where ids are no numbers, nothing would tell the next line from the rest of this one.
        if id_.isdigit() and texts[id_].startswith('"') and not _WHOLE.fullmatch(texts[id_]):
            open_id = id_
    return pl.DataFrame(
        {"item_id": list(texts), name: [_unquoted(text) or None for text in texts.values()]},
        schema={"item_id": pl.String, name: pl.String},
    )


def write_first_comma(frame: pl.DataFrame, path: Path) -> list[str]:
    """Write such a file, without a header.

    Args:
        frame: ids and texts, two columns.
        path: the file.

    Returns:
        A note where texts had line breaks, which become blanks: the loaders read line by line.

    Raises:
        InputError: an id holds a line break.
    """
    id_, text = frame.columns
    broken = frame[id_].filter(frame[id_].str.contains(r"[\r\n]"))
    if len(broken):
        raise InputError(f"{path.name}: the id {broken[0]!r} holds a line break; mend the id")
    several = int(frame[text].str.contains(r"[\r\n]").sum())
    frame = frame.with_columns(pl.col(text).str.replace_all(r"[\r\n]+", " "))
    write_delimited(frame, path, ",", header=False, quoted=True)
    return [f"{path.name}: line breaks in {several:,} texts became blanks"] * bool(several)


def _lines(path: Path) -> list[str]:
    try:
        data = path.read_bytes().removeprefix(codecs.BOM_UTF8)
        text = data.decode()
    except OSError as error:
        raise InputError(f"{path}: not readable ({error.strerror})") from None
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        start = data.rfind(b"\n", 0, error.start) + 1
        column = 1 + (b"," in data[start : error.start])
        raise InputError(
            f"{path}, line {line}, column {column}: not UTF-8; save the file as UTF-8"
        ) from None
    if not text.strip():
        raise InputError(f"{path}: the file is empty")
    return [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")]


def _unquoted(text: str) -> str:
    return text[1:-1].replace('""', '"') if _WHOLE.fullmatch(text) else text
