"""New items as people bring them: media to be encoded as the model's were, or feature stores."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import numpy as np

from extract.encoders.base import Modality
from extract.errors import InputError
from extract.locations import location
from mmssl.data.features import read_features
from mmssl.data.ids import IdMap
from mmssl.recommend.cold_start import NewItems, require_media
from mmssl.recommend.model_encoders import obstacle
from mmssl.recommend.model_files import ItemFeatures
from mmssl.recommend.model_folder import SavedModel


def from_stores(model: SavedModel, stores: Mapping[str, str], *, checked: bool = True) -> NewItems:
    """The items of feature stores that the model does not know.

    Args:
        model: whose encoders made the stores.
        stores: modality -> path or URL; a modality that is left out is missing for all.
        checked: whether their encoders must be the model's, by name.

    Raises:
        InputError: the model has no media, no such store, another encoder than the model's, or no
            new item.
    """
    require_media(model)
    found = {}
    for modality, path in stores.items():
        if modality not in model.features:
            raise InputError(
                f"{modality}={path}: the model has no {modality}; it has:"
                f" {', '.join(model.features)}"
            )
        source = read_features(location(path))
        wanted = model.info.encoders[modality]
        if checked and None not in (source.encoder, wanted) and source.encoder != wanted:
            raise InputError(
                f"{modality}={path}: made by {source.encoder}, the model's {modality} by {wanted}:"
                " such vectors cannot be compared; extract with the model's encoder"
            )
        found[modality] = source
    known = set(model.item_ids)
    brought = list(dict.fromkeys(id_ for source in found.values() for id_ in source.ids))
    ids = [id_ for id_ in brought if id_ not in known]
    if not ids:
        raise InputError(f"{', '.join(stores.values())}: no item that the model does not know")
    index = IdMap(ids, "item")
    features = {}
    for modality, given in model.features.items():
        width = given.vectors.shape[1]
        vectors, present = np.zeros((len(ids), width), np.float32), np.zeros(len(ids), np.bool_)
        if modality in found:
            vectors, present = found[modality].aligned(index)
        features[modality] = ItemFeatures(vectors, present)
    return NewItems(ids, features, tuple(id_ for id_ in brought if id_ in known))


def encoded(
    model: SavedModel,
    items: str,
    *,
    encoders: Mapping[str, str] | None = None,
    id_column: str | None = None,
    columns: Mapping[str, str] | None = None,
    text_template: str | None = None,
    media_roots: Sequence[str] = (),
    device: str = "auto",
) -> NewItems:
    """The items of a table that the model does not know, encoded as the model's items were.

    Args:
        model: names the encoders.
        items: the table, or a folder of files, as ``extract.run`` takes it.
        encoders: modality -> URI typed by the person, for encoders that the model does not name or
            that are a person's own code, which a model folder never makes us import.
        id_column, columns, text_template, media_roots, device: as of the extraction.

    Raises:
        InputError: the model has no media, an encoder that cannot be had, a table that cannot be
            read, an option about a modality that is not there, or no new item.
    """
    import extract
    from extract.item_table import has_medium

    require_media(model)
    typed, named = dict(encoders or {}), dict(columns or {})
    text = {} if text_template is None else {"text": text_template}
    for option, given in (("--encoder", typed), ("--column", named), ("--text-template", text)):
        for modality, value in given.items():
            if modality not in model.features:
                shown = value if given is text else f"{modality}={value}"
                raise InputError(
                    f"{option} {shown}: the model has no {modality}; it has:"
                    f" {', '.join(model.features)}"
                )
    table = location(items)
    wanted: list[str] = [
        modality
        for modality in model.features
        if modality in named
        or (modality == "text" and text_template is not None)
        or has_medium(table, cast("Modality", modality))
    ]
    if not wanted:
        raise InputError(
            f"{items}: nothing of {', '.join(model.features)} in it; name columns with"
            " --column MODALITY=NAME"
        )
    for modality, uri in typed.items():
        if modality not in wanted:
            raise InputError(
                f"--encoder {modality}={uri} does not apply: {items} has no {modality}"
                f" (--column {modality}=NAME names a column)"
            )
    if media_roots and wanted == ["text"]:
        raise InputError(
            f"--media-root {media_roots[0]} does not apply: of the model's media {items} has the"
            " texts alone"
        )
    uris = {modality: _uri(model, modality, typed) for modality in wanted}
    with tempfile.TemporaryDirectory(prefix="mmssl-new-items-") as scratch:
        stores = {modality: str(Path(scratch) / modality) for modality in wanted}
        for modality in wanted:
            extract.run(
                extract.ExtractionConfig.parse(
                    {
                        "items": items,
                        "modality": modality,
                        "out": stores[modality],
                        "encoder": uris[modality],
                        "id_column": id_column,
                        "column": named.get(modality),
                        "text_template": text_template if modality == "text" else None,
                        "media_roots": () if modality == "text" else tuple(media_roots),
                        "device": device,
                    }
                )
            )
        return from_stores(model, stores, checked=not typed)


def _uri(model: SavedModel, modality: str, typed: Mapping[str, str]) -> str:
    uri = model.info.encoders[modality]
    why = obstacle(uri)
    # What the person types encodes raw media: it does not do what was done to them afterwards.
    if modality in typed and why != "transformed":
        return typed[modality]
    if uri is None or why == "made elsewhere":
        raise InputError(
            f"{modality}: the model's features came ready-made: encode new items the same way and"
            f" name them with --new-features {modality}=PATH"
        )
    if why == "transformed":
        raise InputError(
            f"{modality}: the model's features were transformed after encoding ({uri}): extract and"
            f" transform those of new items, and name them with --new-features {modality}=STORE"
        )
    if why == "own code":
        raise InputError(
            f"{modality}: the model names the encoder {uri}, your own code, which a model folder"
            f" never makes us run: type it, --encoder {modality}={uri}"
        )
    return uri
