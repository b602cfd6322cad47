"""The commands that list items: `recommend`, `similar` and `explain`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from extract.commands import (
    DeviceOption,
    IdColumnOption,
    MediaRootOption,
    TextTemplateOption,
)
from extract.errors import InputError
from mmssl.command_options import ModelOption, ProjectOption, chosen_model, pairs

if TYPE_CHECKING:
    from mmssl.data.ids import UnknownIdsError
    from mmssl.recommend.cold_start import NewItems
    from mmssl.recommend.model_folder import SavedModel


def recommend(
    out: Annotated[Path, typer.Option(help="Where to: .parquet, .csv, .tsv or .jsonl.")],
    model: ModelOption = None,
    users: Annotated[
        str | None,
        typer.Option(
            help="Ids separated by commas, or a file of them (.txt, .csv, ...). Default: all, or"
            " with --new-users these."
        ),
    ] = None,
    top_k: Annotated[int, typer.Option(help="Items a user.")] = 20,
    include_seen: Annotated[
        bool, typer.Option("--include-seen", help="Also recommend what a user already has seen.")
    ] = False,
    only_items: Annotated[
        str | None,
        typer.Option(help="Recommend none but these: item ids, or a file of them. Default: all."),
    ] = None,
    without_items: Annotated[
        str | None, typer.Option(help="Never recommend these: item ids, or a file of them.")
    ] = None,
    skip_unknown: Annotated[
        bool,
        typer.Option(
            "--skip-unknown",
            help="Leave out unknown users and items, also in --new-users; do not stop.",
        ),
    ] = False,
    part: Annotated[
        list[str] | None,
        typer.Option(
            help="Let this part of the model count alone (collaborative, image, ...: see explain);"
            " repeatable. Default: all."
        ),
    ] = None,
    cap: Annotated[
        list[str] | None,
        typer.Option(
            help="COLUMN=N, as category=3: at most N items of a list share a value of that column"
            " of --items, and others from further down take the places; repeatable."
        ),
    ] = None,
    items: Annotated[Path | None, typer.Option(help="The item table, for --cap.")] = None,
    new_items: Annotated[
        str | None,
        typer.Option(
            help="Table of items that the model does not know, or a folder of their files: placed"
            " by their media alone, encoded as the model's were."
        ),
    ] = None,
    new_features: Annotated[
        list[str] | None,
        typer.Option(
            help="MODALITY=STORE with items that the model does not know, made by the model's"
            " encoder; repeatable, in the place of --new-items."
        ),
    ] = None,
    only_new: Annotated[
        bool, typer.Option("--only-new", help="Recommend none but the new items.")
    ] = False,
    encoder: Annotated[
        list[str] | None,
        typer.Option(
            help="MODALITY=URI for --new-items where the model cannot name its encoder, or names"
            " your own class; repeatable."
        ),
    ] = None,
    media_root: MediaRootOption = None,
    column: Annotated[
        list[str] | None,
        typer.Option(help="MODALITY=NAME: a column of --new-items; repeatable."),
    ] = None,
    text_template: TextTemplateOption = None,
    id_column: IdColumnOption = None,
    new_users: Annotated[
        Path | None,
        typer.Option(
            help="Table of what users have interacted with whom the model does not know (columns"
            " user_id and item_id): listed by their history, without a new training."
        ),
    ] = None,
    project: ProjectOption = None,
    device: DeviceOption = "auto",
) -> None:
    """Write the items that suit each user best, with the original ids."""
    from mmssl.data.ids import UnknownIdsError
    from mmssl.recommend.caps import read_caps
    from mmssl.recommend.model_folder import SavedModel
    from mmssl.recommend.recommender import Recommender
    from mmssl.recommend.tables import read_ids

    for option, given in (
        ("--users", users),
        ("--only-items", only_items),
        ("--without-items", without_items),
        ("--items", items),
        ("--new-items", new_items),
        ("--new-users", new_users),
    ):
        if given is not None and Path(given).resolve() == out.resolve():
            raise InputError(
                f"--out {out}: the file of {option} would be overwritten; name another"
            )
    if top_k < 1:
        raise InputError(f"--top-k {top_k}: a list has at least 1 item")
    fresh = bool(new_items or new_features)
    idle: tuple[tuple[str, object, bool, str], ...] = (
        ("--items", items, bool(cap), "--cap"),
        ("--id-column", id_column, bool(cap or new_items), "--cap and --new-items"),
        ("--only-new", only_new or None, fresh, "--new-items and --new-features"),
        ("--encoder", encoder, bool(new_items), "--new-items"),
        ("--media-root", media_root, bool(new_items), "--new-items"),
        ("--column", column, bool(new_items), "--new-items"),
        ("--text-template", text_template, bool(new_items), "--new-items"),
    )
    for option, value, used, about in idle:
        if value and not used:
            raise InputError(f"{option} {_shown(value)}does not apply: it is about {about}")
    if new_items and new_features:
        raise InputError("give --new-items or --new-features, not both")
    if only_new and only_items is not None:
        raise InputError("give --only-new or --only-items, not both")
    chosen = chosen_model(model, project)
    saved = SavedModel.load(Path(chosen))
    lines: list[str] = []
    added_users: list[str] = []
    if new_users is not None:
        try:
            saved, added_users, left_out = _with_users(saved, new_users, skip_unknown)
        except UnknownIdsError as error:
            raise _with_remedy(error) from None
        lines.append(f"new users: {len(added_users):,}, by their histories in {new_users}")
        if left_out:
            lines.append(f"unknown items in these histories skipped: {left_out:,}")
    added_items: list[str] = []
    if fresh:
        from mmssl.recommend.new_items import encoded, from_stores

        if new_items:
            found = encoded(
                saved,
                new_items,
                encoders=pairs("--encoder", encoder, "MODALITY=URI"),
                # Of a folder with --cap it is about the table of --items alone.
                id_column=None if cap and Path(new_items).is_dir() else id_column,
                columns=pairs("--column", column, "MODALITY=NAME, as image=photo"),
                text_template=text_template,
                media_roots=media_root or (),
                device=device,
            )
        else:
            found = from_stores(saved, pairs("--new-features", new_features))
        saved, added_items, told = _with_items(saved, found)
        lines += told
    recommender = Recommender(saved, device)
    caps = read_caps(cap, items, recommender.item_ids, id_column) if cap else []

    def ids(given: str | None, kind: Literal["user", "item"], option: str) -> list[str] | None:
        known = recommender.user_ids if kind == "user" else recommender.item_ids
        return None if given is None else read_ids(given, known, kind, option)

    try:
        report = recommender.recommend_to(
            out,
            ids(users, "user", "--users") or added_users or None,
            top_k,
            exclude_seen=not include_seen,
            only_items=added_items if only_new else ids(only_items, "item", "--only-items"),
            without_items=ids(without_items, "item", "--without-items") or (),
            skip_unknown=skip_unknown,
            parts=part or None,
            caps=caps,
            progress=sys.stderr.isatty(),
        )
    except UnknownIdsError as error:
        raise _with_remedy(error) from None
    lines += [*(each.line() for each in caps), *report.lines()]
    print(f"model: {chosen}", *lines, sep="\n")


def _with_remedy(error: "UnknownIdsError") -> InputError:
    remedy = "--skip-unknown leaves such out"
    if error.kind == "user":
        remedy += "; for users with a history but without training see --new-users"
    return InputError(f"{error}; {remedy}")


def _shown(value: object) -> str:
    """What was typed, as far as it says more than the option's name."""
    if value is True:
        return ""
    return f"{value[0] if isinstance(value, list) else value} "


def _with_users(
    saved: "SavedModel", table: Path, skip_unknown: bool
) -> "tuple[SavedModel, list[str], int]":
    """The model with the users of a table, their ids, and how many unknown items were left out."""
    from mmssl.recommend.fold_in import FoldIn
    from mmssl.recommend.tables import read_histories

    histories = read_histories(table)
    unknown: set[str] = set()
    if skip_unknown:
        unknown = {item for items in histories.values() for item in items} - set(saved.item_ids)
        histories = {
            user: [item for item in items if item not in unknown]
            for user, items in histories.items()
        }
    return FoldIn(saved).with_users(histories), list(histories), len(unknown)


def _with_items(
    saved: "SavedModel", found: "NewItems"
) -> "tuple[SavedModel, list[str], list[str]]":
    """The model with new items, their ids, and what is to be told of those that were brought."""
    from mmssl.recommend.cold_start import ColdStart

    placed, unreadable = found.placeable()
    print("learning from the interactions how to place new items", file=sys.stderr, flush=True)
    grown = ColdStart(saved).with_items(placed)
    lines = [f"new items: {len(placed.ids):,}, placed by their media"]
    for ids, why in (
        (unreadable, "new items left out, for no medium of theirs could be read"),
        (found.known, "items that the model knows already, left as they are"),
    ):
        if ids:
            lines.append(f"{why}: {len(ids):,} ('{ids[0]}'{', ...' if ids[1:] else ''})")
    return grown, placed.ids, lines


def similar(
    item: Annotated[str, typer.Option(help="Its id.")],
    model: ModelOption = None,
    space: Annotated[
        str | None,
        typer.Option(
            help="model (the final item vectors: what users make of items counts too) or a modality"
            " (its embeddings alone). Default: every one."
        ),
    ] = None,
    top_k: Annotated[int, typer.Option(help="Items.")] = 10,
    out: Annotated[
        Path | None, typer.Option(help="Also write them: .parquet, .csv, .tsv or .jsonl.")
    ] = None,
    project: ProjectOption = None,
) -> None:
    """List the items most like an item, by the model and in each modality."""
    import polars as pl

    from extract.files import require_writable
    from extract.tables import table_suffix, write_table
    from mmssl.recommend.model_folder import SavedModel
    from mmssl.recommend.similar import SimilarItems

    if out is not None:
        table_suffix(out)
        require_writable(out)
    chosen = chosen_model(model, project)
    finder = SimilarItems(SavedModel.load(Path(chosen)))
    spaces = [space] if space is not None else [s for s in finder.spaces if finder.has(item, s)]
    frames = [
        finder.of_item(item, top_k, each).select(pl.lit(each).alias("space"), pl.all())
        for each in spaces
    ]
    if not frames:
        raise InputError(f"item '{item}': there is nothing to compare it by in this model")
    print(f"model: {chosen}")
    for each, frame in zip(spaces, frames, strict=True):
        print(f"most like '{item}' in the space {each}:")
        for row in frame.iter_rows(named=True):
            print(f"  {row['rank']:>3}  {row['similarity']:+.4f}  {row['item_id']}")
    if out is not None:
        write_table(pl.concat(frames), out)


def explain(
    user: Annotated[str, typer.Option(help="The user's id.")],
    item: Annotated[str, typer.Option(help="The item's id.")],
    model: ModelOption = None,
    nearest: Annotated[
        int, typer.Option(help="Items of the user's history to name, in each modality.")
    ] = 3,
    json: Annotated[Path | None, typer.Option(help="Also write it here as JSON.")] = None,
    project: ProjectOption = None,
) -> None:
    """Say what a score is made of: the share of each part of the model, and like items."""
    from dataclasses import asdict

    from extract.files import require_writable, write_json
    from mmssl.recommend.explain import Explainer
    from mmssl.recommend.model_folder import SavedModel

    if nearest < 0:
        raise InputError(f"--nearest {nearest}: how many items to name, 0 or more")
    if json is not None:
        require_writable(json)
    chosen = chosen_model(model, project)
    explanation = Explainer(SavedModel.load(Path(chosen))).explain(user, item, nearest)
    print(f"model: {chosen}", *explanation.lines(), sep="\n")
    if json is not None:
        write_json(json, asdict(explanation))
