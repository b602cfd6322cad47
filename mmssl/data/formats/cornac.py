"""Cornac's files: tuples in ``.txt``, item features as matrices, texts of items.

As in Cornac's own data set (``cornac/datasets/amazon_clothing.py``, 3.0): ``rating.txt``, read by
``Reader.read`` (``cornac/data/reader.py``) as UI, UIR or UIRT tuples; ``image_features.npy``, row r
the item of line r in ``item_ids.txt``, for ``FeatureModality``; ``text.txt`` with lines of
``id::text``, for ``TextModality``. A ready split, for ``BaseMethod.from_splits``, is in
``train.txt``, ``test.txt`` and perhaps ``val.txt``. Further modalities are
``<modality>_features.npy``, of the same ids.

Both modalities assert that there are at least as many rows as items with interactions, so every
item gets a row; ``<modality>_features.mask.npy``, which Cornac does not look at, says which are
real. Lines of one user and many items, which UI may be, are not read: they cannot be told from UIR.
"""

from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import polars as pl

from extract.errors import InputError
from mmssl.data.features import read_row_ids
from mmssl.data.files.delimited import read_delimited, write_delimited
from mmssl.data.files.finding import first_line
from mmssl.data.files.matrices import find_matrices, read_matrix, write_ids, write_matrices
from mmssl.data.formats.base import RawDataset, WritableFormat, left_out
from mmssl.data.formats.tuples import read_split, read_tuples, tuple_frames
from mmssl.data.ids import IdMap, ordered_ids
from mmssl.data.interactions import InvalidRows

_WHOLE = "rating.txt"
_TEXTS = "text.txt"
_IDS = "item_ids.txt"
_ENDING = "_features"
# Those of Cornac's own data sets, in the order that tells them apart.
_SEPARATORS = ("\t", "::", ",", " ")
# No text holds it: a line that is one field.
_NONE = "\x1f"


class Cornac(WritableFormat):
    """Cornac."""

    name: ClassVar = "cornac"
    title: ClassVar = "Cornac: rating.txt or train|val|test.txt, <modality>_features.npy, text.txt"

    def recognises(self, source: Path) -> bool:
        """A folder of ``rating.txt``, or of a ``train.txt`` of two to four fields between tabs."""
        if (source / _WHOLE).is_file():
            return True
        return 1 <= first_line(source / "train.txt").count("\t") <= 3

    def read(self, source: Path, invalid_rows: InvalidRows = "error") -> RawDataset:
        """Read a ready split, else ``rating.txt``, and all matrices; see ``Format.read``."""
        files = {
            part: source / f"{part}.txt"
            for part in ("train", "val", "test")
            if part != "val" or (source / "val.txt").is_file()
        }
        warnings: tuple[str, ...] = ()
        if files["train"].is_file():
            separator = _separator(files["train"])
            parts, warnings = read_split(files, separator, invalid_rows)
        elif (source / _WHOLE).is_file():
            files = {"interactions": source / _WHOLE}
            table = read_tuples(source / _WHOLE, _separator(source / _WHOLE), invalid_rows)
            parts = {"interactions": table}
        else:
            raise InputError(f"{source}: holds neither {_WHOLE} nor train.txt and test.txt")
        matrices = find_matrices(source, _ENDING)
        ids = None
        if matrices and (source / _IDS).is_file():
            ids = read_row_ids(source / _IDS)
            files["item ids"] = source / _IDS
        features = {modality: read_matrix(path, ids) for modality, path in matrices.items()}
        return RawDataset(parts, features, files, warnings)

    def read_items(self, source: Path) -> pl.DataFrame | None:
        """Read ``text.txt``; see ``Format.read_items``."""
        path = source / _TEXTS
        if not path.is_file():
            return None
        table = read_delimited(path, _NONE, names=["line"])
        halves = table.frame["line"].str.splitn("::", 2).struct.unnest()
        table = replace(table, frame=halves.rename({"field_0": "item_id", "field_1": "text"}))
        alone = table.frame["text"].is_null().arg_true()
        if len(alone):
            raise table.fault("text", table.rows[alone[0]], "no '::' between id and text")
        table.unique_ids("item_id")
        return table.frame.with_columns(pl.when(pl.col("text") != "").then(pl.col("text")))

    def write(
        self, content: RawDataset, items: pl.DataFrame | None, folder: Path, name: str
    ) -> list[str]:
        """Write tuples, matrices and texts; see ``WritableFormat.write``."""
        frames, notes = tuple_frames(content, "Cornac")
        texts = items is not None and "text" in items.columns
        holds = ["rating", "timestamp", "features", "split", *(["items"] if texts else [])]
        notes += left_out(content, items, holds=holds)
        for kind in ("user", "item"):
            _refuse_blanks(content.ids(kind), kind)
        for part, frame in frames.items():
            written, more = _as_cornac_reads(frame)
            notes += [f"{part}: {note}" for note in more]
            path = folder / (_WHOLE if part == "interactions" else f"{part}.txt")
            write_delimited(written, path, "\t", header=False)
        item_ids = IdMap(ordered_ids(content.ids("item")), "item")
        if content.features:
            write_ids(item_ids.ids, folder / _IDS)
            notes += write_matrices(content.features, item_ids, folder, _ENDING)
        if texts and items is not None:
            notes += _write_texts(items, item_ids, folder / _TEXTS)
        format_ = "UI" + "".join(
            letter
            for role, letter in (("rating", "R"), ("timestamp", "T"))
            if role in written.columns
        )
        return notes + _code(name, format_, list(frames), list(content.features), texts=texts)


def _separator(path: Path) -> str:
    line = first_line(path)
    return next((each for each in _SEPARATORS if each in line), "\t")


def _refuse_blanks(ids: set[str], kind: str) -> None:
    """Refuse ids that Cornac, which strips every line, would change."""
    changed = sorted(id_ for id_ in ids if id_ != id_.strip())
    if changed:
        raise InputError(
            f"--to cornac: the {kind} id {changed[0]!r} begins or ends with a blank, which Cornac"
            " takes off; mend the id"
        )


def _as_cornac_reads(frame: pl.DataFrame) -> tuple[pl.DataFrame, list[str]]:
    """The columns as UI, UIR or UIRT want them, and notes on what that changes.

    Raises:
        InputError: a timestamp beyond what a whole number of 64 bits holds.
    """
    notes: list[str] = []
    if "timestamp" not in frame.columns:
        return frame, notes
    times = frame["timestamp"]
    whole = times.cast(pl.Int64, strict=False)
    if whole.null_count():
        odd = times.filter(whole.is_null())[0]
        raise InputError(
            f"--to cornac: the timestamp {odd:g} is no whole number that fits; mend it"
        )
    if (whole != times).any():
        notes.append("timestamps are cut to whole numbers, for Cornac reads no others")
    frame = frame.with_columns(whole)
    if "rating" not in frame.columns:
        notes.append("a rating of 1 stands before each timestamp, for Cornac wants one there")
        frame = frame.insert_column(2, pl.Series("rating", [1.0] * frame.height))
    return frame, notes


def _write_texts(items: pl.DataFrame, item_ids: IdMap, path: Path) -> list[str]:
    """Write ``id::text``, a line for every item; returns notes on what that loses."""
    notes = []
    others = [name for name in items.columns if name not in ("item_id", "text")]
    if others:
        notes.append(f"left out, for the layout has no place for it: {', '.join(others)}")
    ids = ordered_ids({*item_ids.ids, *items["item_id"]})
    _refuse_blanks(set(ids), "item")
    odd = next((id_ for id_ in ids if "::" in id_), None)
    if odd is not None:
        raise InputError(f"{path.name}: the item id {odd!r} holds '::'; mend the id")
    known = dict(items.select("item_id", pl.col("text").fill_null("")).iter_rows())
    texts = {id_: " ".join(known.get(id_, "").split()) for id_ in ids}
    changed = sum(texts[id_] != text for id_, text in known.items())
    if changed:
        notes.append(f"{path.name}: line breaks and double blanks are one blank in {changed:,}")
    lines = pl.DataFrame({"line": [f"{id_}::{text}" for id_, text in texts.items()]})
    write_delimited(lines, path, _NONE, header=False)
    return notes


def _code(
    name: str, format_: str, parts: list[str], modalities: list[str], *, texts: bool
) -> list[str]:
    """How the files are read in Cornac, a line each."""
    lines = []
    for part in parts:
        path = f"{name}/{_WHOLE if part == 'interactions' else f'{part}.txt'}"
        lines.append(f"{part} = cornac.data.Reader().read({path!r}, fmt={format_!r})")
    for modality in modalities:
        lines.append(
            f"{modality} = FeatureModality(np.load({f'{name}/{modality}{_ENDING}.npy'!r}),"
            f" read_text({f'{name}/{_IDS}'!r}))"
        )
    if texts:
        lines.append(f"texts = TextModality(*read_text({f'{name}/{_TEXTS}'!r}, sep='::'))")
    return ["Cornac reads the files so, from the folder around them:", *lines]
