"""The layouts that are known, by name, and which of them a folder has."""

from functools import cache
from importlib import import_module
from pathlib import Path

from extract.errors import InputError, nearest
from mmssl.data.formats.base import Format

AUTO = "auto"
_CLASSES = {
    "dataset": "prepared:PreparedDataset",
    "tables": "tables:Tables",
    "mmssl": "mmssl_family:MMSSLFamily",
    "mmrec": "mmrec:MMRec",
    "recbole": "recbole:RecBole",
    "elliot": "elliot:Elliot",
    "cornac": "cornac:Cornac",
    "amazon2018": "amazon2018:Amazon2018",
    "amazon2023": "amazon2023:Amazon2023",
    "movielens": "movielens:MovieLens",
    "microlens": "microlens:MicroLens",
    "hm": "hm:HM",
}


def format_names() -> list[str]:
    """The names that ``--from`` and ``--to`` know."""
    return list(_CLASSES)


@cache
def find_format(name: str) -> Format:
    """The layout of a name.

    Raises:
        InputError: there is none; the message names the nearest.
    """
    if name not in _CLASSES:
        raise InputError(f"unknown format '{name}'{nearest(name, format_names())}")
    module, _, class_name = _CLASSES[name].partition(":")
    made: Format = getattr(import_module(f"mmssl.data.formats.{module}"), class_name)()
    return made


def source_format(source: Path, name: str = AUTO) -> Format:
    """The layout to read a folder or file by.

    Args:
        source: it.
        name: a layout's name, or ``auto``: the one layout that recognises the source.

    Raises:
        InputError: no such source, or none or several recognise it.
    """
    if not source.exists():
        raise InputError(f"{source}: no such file or folder")
    if name != AUTO:
        return find_format(name)
    found = [each for each in map(find_format, format_names()) if each.recognises(source)]
    if len(found) == 1:
        return found[0]
    if found:
        names = " or ".join(f"--from {each.name}" for each in found)
        raise InputError(f"{source}: may be of several layouts; say which: {names}")
    raise InputError(
        f"{source}: of no layout that is known ({', '.join(format_names())}); name it with --from"
        " to learn what is missing, or give the interactions as --interactions FILE"
    )
