"""Users that a model was not trained with, by their history: no retraining."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from torch import Tensor

from extract.errors import InputError
from mmssl.data.ids import IdMap
from mmssl.recommend.model_files import grown
from mmssl.recommend.model_folder import SavedModel
from mmssl.vectors import TwoSided


class FoldIn:
    """The vector that a user with some history would have.

    h_u is taken for a linear function of the mean of the item vectors of the user's history, times
    the root of their number: of the many functions that send the histories of the training users to
    these users' vectors, the one of least squares (ridge regression). What items send along an item
    graph needs no such function: it follows from the history.
    """

    def __init__(self, model: SavedModel) -> None:
        """Fit the function on all users that have a training interaction."""
        self._model = model
        self._items = IdMap(model.item_ids, "item")
        self._map: NDArray[np.float64] | None = None
        if model.user_vectors is not None and model.item_vectors is not None:
            self._active = np.flatnonzero(np.diff(model.train.indptr))
            self._known = self._sums(model.train[self._active])
            self._map = self._fitted(model.user_vectors)

    def vectors(self, history: sp.csr_array) -> Tensor | None:
        """h of users with these histories.

        Args:
            history: (n, I) of ones.

        Returns:
            (n, d) float32, zero without a history; None for a model without vectors.
        """
        if self._map is None:
            return None
        return torch.from_numpy((self._sums(history) @ self._map).astype(np.float32))

    def scores(self, history: sp.csr_array) -> NDArray[np.float32]:
        """How well every item fits users with these histories (n, I): (n, I) float32."""
        total = np.zeros(history.shape, dtype=np.float32)
        vectors = self.vectors(history)
        if vectors is not None and self._model.item_vectors is not None:
            total += (vectors @ self._model.item_vectors.T).numpy()
        if self._model.item_graph is not None:
            total += (history @ self._model.item_graph).toarray()
        return total

    def with_users(self, histories: Mapping[str, Sequence[str]]) -> SavedModel:
        """The model with new users behind its own; their rows are U, U + 1, ...

        Args:
            histories: original id of each -> original ids of the items, in any order.

        Raises:
            InputError: a user whom the model knows, or items that it does not.
        """
        model = self._model
        known = IdMap(model.user_ids, "user")
        for user in histories:
            if user in known:
                raise InputError(f"user '{user}' is known to the model: name new users alone")
        history = self.matrix(list(histories.values()))
        vectors = self.vectors(history)
        count = len(model.user_ids) + len(histories)
        shape = (count, len(model.item_ids))
        parts = {}
        for modality, part in model.modality_parts.items():
            added = (self._sums(history) @ self._fitted(part.user)).astype(np.float32)
            both = torch.cat([part.user, torch.from_numpy(added)])
            parts[modality] = TwoSided(both, part.item)
        return replace(
            model,
            user_ids=[*model.user_ids, *histories],
            train=sp.csr_array(sp.vstack([model.train, history])),
            val=grown(model.val, shape),
            graphs={m: grown(graph, shape) for m, graph in model.graphs.items()},
            user_vectors=(
                None
                if model.user_vectors is None or vectors is None
                else torch.cat([model.user_vectors, vectors])
            ),
            modality_parts=parts,
        )

    def matrix(self, histories: Sequence[Sequence[str]]) -> sp.csr_array:
        """Histories of original item ids as (n, I) of ones.

        Raises:
            InputError: unknown items.
        """
        rows = [np.unique(self._items.rows(items)) for items in histories]
        lengths = np.array([len(each) for each in rows], dtype=np.int64)
        columns = np.concatenate(rows) if rows else np.zeros(0, dtype=np.int64)
        starts = np.concatenate([[0], lengths.cumsum()])
        ones = np.ones(len(columns), dtype=np.float32)
        return sp.csr_array((ones, columns, starts), shape=(len(rows), len(self._items)))

    def _sums(self, history: sp.csr_array) -> NDArray[np.float64]:
        """The sum of a history's item vectors over the root of their number, (n, d)."""
        assert self._model.item_vectors is not None
        counts = np.maximum(np.diff(history.indptr), 1)
        sums = history @ self._model.item_vectors.numpy().astype(np.float64)
        return np.asarray(sums / np.sqrt(counts)[:, None], dtype=np.float64)

    def _fitted(self, users: Tensor) -> NDArray[np.float64]:
        """The (d, d) map from histories to rows of ``users`` (U, d)."""
        wanted = users.numpy()[self._active].astype(np.float64)
        square = self._known.T @ self._known
        # Enough to settle directions that no history tells of, and no more.
        least = 1e-3 * np.trace(square) / max(1, len(square)) + 1e-12
        found = np.linalg.solve(square + least * np.eye(len(square)), self._known.T @ wanted)
        return np.asarray(found, dtype=np.float64)
