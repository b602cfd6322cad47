"""``features export``: a feature store in another tool's format."""

from pathlib import Path
from typing import Literal, TypeAlias, get_args

from extract.errors import InputError, nearest
from extract.export.ducho import check_replaceable, write_ducho
from extract.export.npy import Missing, npy_files, write_npy
from extract.export.order import read_order
from extract.export.parquet import write_parquet
from extract.export.recbole import recbole_fields, write_recbole
from extract.export.summary import ExportSummary
from extract.locations import Location
from extract.store import FeatureStore

Format: TypeAlias = Literal["npy", "parquet", "ducho", "recbole"]
FORMATS: tuple[Format, ...] = get_args(Format)


def export(
    source: Location,
    to: Format,
    out: Path,
    *,
    order: Path | None = None,
    id_column: str | None = None,
    missing: Missing | None = None,
    overwrite: bool = False,
) -> ExportSummary:
    """Write a store's vectors as another tool reads them; whole or not at all.

    Args:
        source: a complete feature store.
        to: the format.
        out: a file; a folder for ``ducho``.
        order: of ``npy``: which item stands in which row; see ``extract.export.order.read_order``.
        id_column: the column of the ids in ``order``.
        missing: what stands in the rows of items without a vector; None: they are an error.
        overwrite: replace what an export before left at ``out``.

    Raises:
        InputError: no such store, or an incomplete or damaged one; an option that does not act on
            the format; a target that is there already; an id that the format cannot hold; the disk
            is full.
    """
    if to not in FORMATS:
        raise InputError(f"--to {to}: unknown format{nearest(to, FORMATS)}")
    for option, value in (("--order", order), ("--missing", missing), ("--id-column", id_column)):
        if value is not None and to != "npy":
            raise InputError(f"{option} {value}: acts on --to npy, not on {to}")
        if value is not None and order is None:
            raise InputError(f"{option} {value}: acts on the rows of --order, which is not given")
    store = FeatureStore.open(source)
    store.digest()  # an incomplete store is refused here
    _check_target(source, to, out, order, overwrite=overwrite)
    if to == "npy":
        ids = None if order is None else read_order(order, id_column)
        return write_npy(store, out, order=ids, missing=missing or "error")
    return {"parquet": write_parquet, "ducho": write_ducho, "recbole": write_recbole}[to](
        store, out
    )


def _check_target(
    source: Location, to: Format, out: Path, order: Path | None, *, overwrite: bool
) -> None:
    here, there = source.resolve(), out.resolve()
    if isinstance(here, Path) and (there == here or here in there.parents or there in here.parents):
        raise InputError(f"{out}: lies in the feature store, or around it; name another place")
    targets = [out]
    if to == "npy":
        if out.suffix != ".npy":
            raise InputError(f"{out}: name a file that ends in .npy")
        targets = npy_files(out, ordered=order is not None)
    if to == "parquet" and out.suffix != ".parquet":
        raise InputError(f"{out}: name a file that ends in .parquet")
    if to == "recbole":
        recbole_fields(out)
    if order is not None and order.resolve() in [target.resolve() for target in targets]:
        raise InputError(f"--order {order}: would be overwritten; name another --out")
    for target in targets:
        if to == "ducho":
            if out.exists() and not out.is_dir():
                raise InputError(f"{out}: is a file; name a folder")
            if not out.is_dir() or not any(out.iterdir()):
                continue
            if overwrite:
                check_replaceable(out)
                continue
        elif target.is_dir():
            raise InputError(f"{target}: a folder stands where the file should be")
        if target.exists() and not overwrite:
            raise InputError(f"{target}: is there already; choose another, or --overwrite it")
