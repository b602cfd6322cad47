"""Users and items that the model does not know: by a few items, by media alone."""

import threading
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from mmssl.evaluation.ranking import top_k_of_block
from mmssl.recommend.cold_start import ColdStart, features_of
from mmssl.recommend.fold_in import FoldIn
from mmssl.recommend.model_folder import SavedModel


class InterestedUsers(NamedTuple):
    """User rows, the one of highest score first, and their scores of one item."""

    rows: NDArray[np.int64]
    scores: NDArray[np.float32]


class Newcomers:
    """What fits new users and new items to a model, learned when first wanted; for any thread."""

    def __init__(self, model: SavedModel) -> None:
        self._model = model
        # Two, so that a new user's list does not wait until the towers of new items are learned.
        self._folding, self._learning = threading.Lock(), threading.Lock()
        self._fold_in: FoldIn | None = None
        self._cold_start: ColdStart | None = None

    @property
    def fold_in(self) -> FoldIn:
        """What gives a user a vector by a history."""
        with self._folding:
            if self._fold_in is None:
                self._fold_in = FoldIn(self._model)
            return self._fold_in

    def interested(self, vectors: Mapping[str, NDArray[np.float32]], k: int) -> InterestedUsers:
        """The k users for whom a new item scores highest.

        Users without a training interaction are left out: the model knows nothing of them.

        Args:
            vectors: embeddings of its media, (dim,) by modality; at least one.
            k: how many.

        Raises:
            InputError: the model has no media, or nothing was learned that a new item could use.
        """
        features = {
            modality: vectors.get(modality, np.full(known.vectors.shape[1], np.nan, np.float32))
            for modality, known in self._model.features.items()
        }
        given = features_of({name: vector[None] for name, vector in features.items()})
        scores = torch.from_numpy(self._placing().scores(given)[:, 0])
        rows, best = top_k_of_block(scores[None], k)
        there = rows[0] >= 0
        return InterestedUsers(rows[0][there].numpy(), best[0][there].numpy())

    def _placing(self) -> ColdStart:
        with self._learning:
            if self._cold_start is None:
                self._cold_start = ColdStart(self._model)
            return self._cold_start
