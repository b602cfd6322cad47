"""The interactions of the MMSSL family: ``train.json`` and the like, ``{"user": [item, ...]}``."""

from pathlib import Path

import polars as pl

from extract.errors import InputError
from extract.files import read_json


def read_mmssl_json(path: Path) -> pl.DataFrame:
    """Read one part of a split.

    Returns:
        Columns ``user`` and ``item``, text, one row an interaction, in the order of the file.

    Raises:
        InputError: the file is missing, is not JSON, or is not a mapping from user to items; the
            message names file, user and place.
    """
    content = read_json(path)
    if not isinstance(content, dict):
        raise InputError(f'{path}: must hold one object, {{"user": [item, ...]}}')
    users: list[str] = []
    items: list[str] = []
    for user, its_items in content.items():
        if not isinstance(its_items, list):
            raise InputError(f"{path}: user '{user}' must have a list of items")
        for place, item in enumerate(its_items, start=1):
            # bool is an int in Python, but no id.
            if isinstance(item, bool) or not isinstance(item, int | str):
                raise InputError(
                    f"{path}: user '{user}', entry {place}: an item id is an integer or text, not"
                    f" {item!r}"
                )
            users.append(user)
            items.append(str(item))
    for id_ in {*users, *items}:
        try:
            id_.encode()
        except UnicodeEncodeError:
            raise InputError(
                f"{path}: the id {id_!a} holds what is no character; mend the file"
            ) from None
    return pl.DataFrame(
        {"user": users, "item": items}, schema={"user": pl.String, "item": pl.String}
    )
