"""Items like an item, or like an embedding made elsewhere: in one modality, or by the model."""

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from extract.errors import InputError
from mmssl.data.ids import IdMap
from mmssl.evaluation.ranking import top_k_of_block
from mmssl.recommend.model_folder import SavedModel
from mmssl.vectors import unit_rows

MODEL = "model"
"""The space of the model's final item vectors: what users make of the items counts there too."""


class SimilarItems:
    """Neighbours of items by cosine.

    In a modality the cosine is that of its raw embeddings, the mean embedding of the items taken
    away first, since encoders put everything near one direction. In the space ``model`` it is that
    of the final item vectors as they are.
    """

    def __init__(self, model: SavedModel) -> None:
        self._ids = IdMap(model.item_ids, "item")
        self._names = pl.Series(model.item_ids, dtype=pl.String)
        self._features = model.features
        self._means: dict[str, Tensor] = {}
        self._units: dict[str, tuple[Tensor, Tensor]] = {}
        if model.item_vectors is not None:
            present = torch.ones(len(model.item_ids), dtype=torch.bool)
            self._units[MODEL] = unit_rows(model.item_vectors), present

    @property
    def spaces(self) -> tuple[str, ...]:
        """Where neighbours can be looked for: ``model``, if there are vectors, and modalities."""
        return (*([MODEL] if MODEL in self._units else []), *self._features)

    def has(self, item_id: str, space: str) -> bool:
        """Whether an item can be compared in a space.

        Raises:
            InputError: an unknown item or space.
        """
        return bool(self._space(self._chosen(space))[1][int(self._ids.rows([item_id])[0])])

    def of_item(self, item_id: str, k: int = 20, space: str | None = None) -> pl.DataFrame:
        """The k items most like an item, itself left out.

        Args:
            item_id: its original id.
            k: how many, at least 1.
            space: one of ``spaces``; the first when left out.

        Returns:
            Columns ``item_id``, ``similarity`` (float32, -1 to 1) and ``rank`` (from 1); equal
            similarities in the order of the catalogue.

        Raises:
            InputError: an unknown item or space, k below 1, or an item without the modality.
        """
        units, present = self._space(self._chosen(space))
        row = int(self._ids.rows([item_id])[0])
        if not present[row]:
            raise InputError(f"item '{item_id}' has no {space}: nothing is like it there")
        return self._nearest(units[row], units, present, k, itself=row)

    def of_embedding(
        self, modality: str, embedding: NDArray[np.float32], k: int = 20
    ) -> pl.DataFrame:
        """The k items of the catalogue most like a raw embedding of the modality's encoder.

        Args:
            modality: one that the model has.
            embedding: (dim,), finite.
            k: how many, at least 1.

        Returns:
            As ``of_item``.

        Raises:
            InputError: no such modality, another length, NaN or infinite numbers, k below 1.
        """
        if modality not in self._features:
            raise InputError(f"this model has no {modality}; it has: {', '.join(self._features)}")
        units, present = self._space(modality)
        if embedding.shape != (units.shape[1],):
            raise InputError(
                f"an embedding of {modality} has {units.shape[1]} numbers here, not"
                f" {embedding.shape}: was it made by another encoder?"
            )
        if not bool(np.isfinite(embedding).all()):
            raise InputError(f"the embedding of {modality} holds NaN or infinite values")
        centred = torch.from_numpy(np.asarray(embedding, np.float32)) - self._means[modality]
        return self._nearest(unit_rows(centred[None])[0], units, present, k)

    def cosines(self, item: int, others: NDArray[np.int64], modality: str) -> NDArray[np.float32]:
        """The cosines of an item row with other item rows (n,); NaN where either has no medium."""
        units, present = self._space(modality)
        rows = torch.from_numpy(others)
        known = present[rows] & present[item]
        found = torch.where(known, units[rows] @ units[item], torch.nan)
        return found.numpy()

    def _chosen(self, space: str | None) -> str:
        if space is None and self.spaces:
            return self.spaces[0]
        if space not in self.spaces:
            asked = f"no space '{space}' here" if space else "nothing to compare items by"
            raise InputError(f"{asked}; this model has: {', '.join(self.spaces) or 'none'}")
        return space

    def _space(self, space: str) -> tuple[Tensor, Tensor]:
        """Unit vectors (I, d), zero where absent, and which items have one."""
        if space not in self._units:
            given = self._features[space]
            vectors, present = torch.from_numpy(given.vectors), torch.from_numpy(given.present)
            mean = vectors[present].mean(dim=0) if present.any() else vectors.new_zeros(1)
            self._means[space] = mean
            self._units[space] = unit_rows(vectors - mean) * present[:, None], present
        return self._units[space]

    def _nearest(
        self, query: Tensor, units: Tensor, present: Tensor, k: int, itself: int | None = None
    ) -> pl.DataFrame:
        if k < 1:
            raise InputError(f"k is the number of similar items and must be at least 1, not {k}")
        cosines = torch.where(present, units @ query, -torch.inf)
        if itself is not None:
            cosines[itself] = -torch.inf
        items, values = (found[0] for found in top_k_of_block(cosines[None], k))
        there = items >= 0
        return pl.DataFrame(
            {
                "item_id": self._names.gather(items[there].numpy()),
                "similarity": values[there].clamp(-1, 1).numpy(),
                "rank": np.arange(1, int(there.sum()) + 1),
            },
            schema={"item_id": pl.String, "similarity": pl.Float32, "rank": pl.Int64},
        )
