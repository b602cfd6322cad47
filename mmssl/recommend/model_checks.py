"""What has to hold of a model before it is written, and after it was read."""

from typing import TYPE_CHECKING

import numpy as np
import torch

from mmssl.recommend.model_files import ModelManifest

if TYPE_CHECKING:
    from mmssl.recommend.model_folder import SavedModel


def problem_of(model: "SavedModel", manifest: ModelManifest | None = None) -> str | None:
    """What does not fit together in a model, in a few words; None when all is well.

    Args:
        model: the model.
        manifest: of the folder that it was read from; its sizes have to be the model's.
    """
    users, items = len(model.user_ids), len(model.item_ids)
    for kind, ids in (("user", model.user_ids), ("item", model.item_ids)):
        if len(set(ids)) != len(ids):
            return f"a {kind} id occurs twice"
    problem = _scoring_problem(model)
    if problem:
        return problem
    if manifest and (manifest.users, manifest.items, manifest.dim) != (users, items, model.dim):
        return (
            f"config.json counts {manifest.users} users, {manifest.items} items and"
            f" {manifest.dim} dimensions, the files {users}, {items} and {model.dim}"
        )
    matrices = {"train": model.train, "val": model.val, **model.graphs}
    for name, matrix in matrices.items():
        if matrix.shape != (users, items):
            return f"{name} is {matrix.shape[0]} x {matrix.shape[1]}, not {users} x {items}"
    encoders = set(model.info.encoders)
    for kind, given in (
        ("graphs", set(model.graphs)),
        ("parts", set(model.modality_parts)),
        ("features", set(model.features)),
    ):
        if not given <= encoders:
            return f"{kind} of {sorted(given)}, encoders of {sorted(encoders)}"
    return _parts_problem(model) or _features_problem(model)


def _parts_problem(model: "SavedModel") -> str | None:
    for modality, part in model.modality_parts.items():
        if model.user_vectors is None or model.item_vectors is None:
            return f"a part of {modality}, but no vectors"
        for given, whole in ((part.user, model.user_vectors), (part.item, model.item_vectors)):
            if given.shape != whole.shape or given.dtype != torch.float32:
                return f"the part of {modality} is {tuple(given.shape)}, {given.dtype}"
            if not bool(given.isfinite().all()):
                return f"the part of {modality} holds NaN or infinite values"
    return None


def _features_problem(model: "SavedModel") -> str | None:
    for modality, given in model.features.items():
        rows = len(model.item_ids)
        shape = given.vectors.shape[:1] if given.vectors.ndim == 2 else None
        if shape != (rows,) or given.present.shape != (rows,):
            return f"features of {modality} of another number of items than {rows}"
        if given.vectors.dtype != np.float32 or given.present.dtype != np.bool_:
            return f"features of {modality} are {given.vectors.dtype}, {given.present.dtype}"
        if not bool(np.isfinite(given.vectors).all()):
            return f"features of {modality} hold NaN or infinite values"
    return None


def _scoring_problem(model: "SavedModel") -> str | None:
    users, items = len(model.user_ids), len(model.item_ids)
    if model.item_graph is not None:
        if model.item_graph.shape != (items, items):
            return f"the item graph is {model.item_graph.shape}, not {(items, items)}"
        if not bool(np.isfinite(model.item_graph.data).all()):
            return "the item graph holds NaN or infinite values"
    if model.user_vectors is None or model.item_vectors is None:
        if (model.user_vectors is None) != (model.item_vectors is None):
            return "it has vectors of one side alone"
        nothing = model.item_graph is None
        return "it has neither vectors nor an item graph" if nothing else None
    if model.user_vectors.ndim != 2:
        return f"user vectors are {tuple(model.user_vectors.shape)}, not a matrix"
    dim = model.user_vectors.shape[1]
    sides = (("user", users, model.user_vectors), ("item", items, model.item_vectors))
    for kind, count, vectors in sides:
        if vectors.shape != (count, dim):
            return f"{kind} vectors are {tuple(vectors.shape)}, not {(count, dim)}"
        if vectors.dtype != torch.float32:
            return f"{kind} vectors are {vectors.dtype}, not torch.float32"
        if not bool(vectors.isfinite().all()):
            return f"{kind} vectors hold NaN or infinite values"
    return None
