"""A trained model on disk: one folder, complete in itself, without pickle and without code."""

from collections.abc import Collection
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl
import torch
from safetensors.torch import load_file
from scipy.sparse import csr_array
from torch import Tensor

from extract.errors import InputError
from extract.files import atomic_folder, sha256_file, write_json, write_text
from extract.versions import installed_versions
from mmssl.data.graphs import csr_arrays, csr_tensors
from mmssl.evaluation.ranking import InnerProduct, Score, added, item_graph_score
from mmssl.recommend.manifests import require_whole
from mmssl.recommend.model_card import model_card
from mmssl.recommend.model_checks import problem_of
from mmssl.recommend.model_files import (
    FEATURES,
    ITEM_GRAPH,
    LIBRARIES,
    PARTS,
    UNREADABLE,
    VECTORS,
    ItemFeatures,
    ModelManifest,
    feature_tensors,
    folder_of,
    part_tensors,
    read_model_manifest,
    read_weighted_graph,
    weighted_graph_tensors,
    write_ids,
    write_tensors,
)
from mmssl.recommend.model_info import ModelInfo
from mmssl.vectors import TwoSided

ITEM_GRAPH_PART = "item graph"
"""The name of what the items of a user's history send, among the parts of a score."""


@dataclass(frozen=True, eq=False)
class SavedModel:
    """Everything that recommending and going on with a model need, for U users and I items."""

    info: ModelInfo
    user_ids: list[str]
    """Original ids in row order, U of them."""
    item_ids: list[str]
    """Original ids in row order, I of them."""
    parameters: dict[str, Tensor]
    """The model's state, by name."""
    graphs: dict[str, csr_array]
    """Modality -> relation graph, U x I of ones."""
    train: csr_array
    """Training interactions, U x I of ones."""
    val: csr_array
    """Validation interactions, U x I of ones."""
    user_vectors: Tensor | None = None
    """(U, d) float32, h_u; an item's score is its inner product with h_i."""
    item_vectors: Tensor | None = None
    """(I, d) float32, h_i."""
    item_graph: csr_array | None = None
    """(I, I) float32: scores are the rows of ``train @ item_graph``, added to those of the vectors
    where there are both."""
    modality_parts: dict[str, TwoSided] = field(default_factory=dict)
    """Modality -> what of the vectors its media brought, (U, d) and (I, d) float32."""
    features: dict[str, ItemFeatures] = field(default_factory=dict)
    """Modality -> the raw embeddings that the model was trained with."""

    @cached_property
    def vector_parts(self) -> dict[str, TwoSided]:
        """What the vectors are the sum of, by name; none where there are no vectors.

        ``collaborative`` is what the media did not bring; ``model`` stands for all of a model that
        takes media without telling what they brought.
        """
        if self.user_vectors is None or self.item_vectors is None:
            return {}
        user, item = self.user_vectors, self.item_vectors
        for part in self.modality_parts.values():
            user, item = user - part.user, item - part.item
        told = self.modality_parts or not self.info.encoders
        return {"collaborative" if told else "model": TwoSided(user, item), **self.modality_parts}

    @property
    def part_names(self) -> tuple[str, ...]:
        """The parts that a score is made of: of the vectors, then of the item graph."""
        graph = () if self.item_graph is None else (ITEM_GRAPH_PART,)
        return (*self.vector_parts, *graph)

    @property
    def dim(self) -> int | None:
        """Length of the vectors; None where an item graph alone scores."""
        return None if self.item_vectors is None else self.item_vectors.shape[1]

    def score(self, device: torch.device, parts: Collection[str] | None = None) -> Score:
        """What ranks the items for (b,) user rows, on a device.

        Args:
            device: where the scores are computed.
            parts: names of ``part_names``; the others count nothing, as if each side's vectors
                were the sums of these parts alone. None for all.

        Raises:
            InputError: an unknown part, or none.
        """
        chosen = self.part_names if parts is None else tuple(dict.fromkeys(parts))
        unknown = [part for part in chosen if part not in self.part_names]
        if unknown or not chosen:
            what = f"this model has no part '{unknown[0]}'" if unknown else "no part is left"
            raise InputError(f"{what}; its parts are: {', '.join(self.part_names)}")
        scores: list[Score] = []
        vectors = self._vectors_of([part for part in chosen if part != ITEM_GRAPH_PART])
        if vectors is not None:
            scores.append(InnerProduct(vectors.user.to(device), vectors.item.to(device)))
        if self.item_graph is not None and ITEM_GRAPH_PART in chosen:
            scores.append(item_graph_score(self.train, self.item_graph, device))
        return added(scores)

    def _vectors_of(self, parts: list[str]) -> TwoSided | None:
        """The sum of some parts; of all it is the vectors themselves, to the bit."""
        if not parts or self.user_vectors is None or self.item_vectors is None:
            return None
        if len(parts) == len(self.vector_parts):
            return TwoSided(self.user_vectors, self.item_vectors)
        # In the order of the model, so that the order in which they are named does not matter.
        sides = [self.vector_parts[part] for part in self.vector_parts if part in parts]
        user, item = sides[0].user, sides[0].item
        for side in sides[1:]:
            user, item = user + side.user, item + side.item
        return TwoSided(user, item)

    def seen(self) -> csr_array:
        """What each user is known to have interacted with, training and validation together."""
        return csr_array(self.train + self.val)

    def card(self, license: str | None = None) -> str:
        """The model card, as Markdown; ``license`` is an identifier such as ``apache-2.0``."""
        graph = self.item_graph is not None
        given = self.info, self.train, self.val
        return model_card(*given, dim=self.dim, item_graph=graph, license=license)

    def save(self, folder: Path) -> None:
        """Write the folder whole: beside it first, then renamed; one already there is replaced.

        Raises:
            ValueError: sizes that do not belong together, repeated ids, or vectors with NaN.
        """
        problem = problem_of(self)
        if problem:
            raise ValueError(f"this model cannot be saved: {problem}")
        with atomic_folder(folder) as new:
            write_ids(self.user_ids, "user_id", new / "users.parquet")
            write_ids(self.item_ids, "item_id", new / "items.parquet")
            write_tensors(self.parameters, new / "model.safetensors")
            if self.item_graph is not None:
                write_tensors(weighted_graph_tensors(self.item_graph), new / ITEM_GRAPH)
            if self.user_vectors is not None and self.item_vectors is not None:
                vectors = {"user": self.user_vectors, "item": self.item_vectors}
                write_tensors(vectors, new / VECTORS)
            if self.modality_parts:
                write_tensors(part_tensors(self.modality_parts), new / PARTS)
            if self.features:
                write_tensors(feature_tensors(self.features), new / FEATURES)
            write_tensors(csr_tensors(self.graphs), new / "graphs.safetensors")
            seen = {"train": self.train, "val": self.val}
            write_tensors(csr_tensors(seen), new / "seen.safetensors")
            manifest = ModelManifest(
                schema_version=1,
                model=self.info,
                users=len(self.user_ids),
                items=len(self.item_ids),
                dim=self.dim,
                libraries=installed_versions(LIBRARIES),
                files={path.name: sha256_file(path) for path in sorted(new.iterdir())},
            )
            write_text(new / "README.md", self.card())
            write_json(new / "config.json", manifest.model_dump(mode="json"))

    @classmethod
    def load(cls, path: Path) -> "SavedModel":
        """Read the ``model/`` folder of a run, or such a folder itself.

        Raises:
            InputError: no model there, or one whose files are missing, changed, or do not fit
                together; the message names the file.
        """
        folder = folder_of(path)
        if not (folder / "config.json").is_file():
            raise InputError(
                f"{path}: no trained model here (neither model/config.json nor config.json);"
                " name the folder of a finished run"
            )
        manifest = read_model_manifest(folder / "config.json")
        require_whole(
            folder, manifest.files, "the model folder is not complete", " since the model was saved"
        )
        try:
            model = cls._read(folder, manifest)
        except UNREADABLE as error:
            raise InputError(f"{folder}: not a whole model ({error})") from None
        problem = problem_of(model, manifest)
        if problem:
            raise InputError(f"{folder}: not a whole model ({problem})")
        return model

    @classmethod
    def _read(cls, folder: Path, manifest: ModelManifest) -> "SavedModel":
        scoring: dict[str, Any] = {}
        if VECTORS in manifest.files:
            vectors = load_file(folder / VECTORS)
            scoring = {"user_vectors": vectors["user"], "item_vectors": vectors["item"]}
        if ITEM_GRAPH in manifest.files:
            graph = load_file(folder / ITEM_GRAPH)
            scoring["item_graph"] = read_weighted_graph(graph, manifest.items)
        encoders = manifest.model.encoders
        if PARTS in manifest.files:
            parts = load_file(folder / PARTS)
            names = [m for m in encoders if f"{m}.user" in parts]
            scoring["modality_parts"] = {
                m: TwoSided(parts[f"{m}.user"], parts[f"{m}.item"]) for m in names
            }
        if FEATURES in manifest.files:
            raw = load_file(folder / FEATURES)
            scoring["features"] = {
                m: ItemFeatures(raw[f"{m}.vectors"].numpy(), raw[f"{m}.present"].numpy())
                for m in encoders
                if f"{m}.vectors" in raw
            }
        shape = (manifest.users, manifest.items)
        graphs = csr_arrays(load_file(folder / "graphs.safetensors"), shape)
        seen = csr_arrays(load_file(folder / "seen.safetensors"), shape)
        return cls(
            info=manifest.model,
            user_ids=pl.read_parquet(folder / "users.parquet")["user_id"].to_list(),
            item_ids=pl.read_parquet(folder / "items.parquet")["item_id"].to_list(),
            parameters=load_file(folder / "model.safetensors"),
            graphs=graphs,
            train=seen["train"],
            val=seen["val"],
            **scoring,
        )
