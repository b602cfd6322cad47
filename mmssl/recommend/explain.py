"""Why a model gives an item its score for a user: the share of each part, and the user's items."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from extract.errors import InputError
from mmssl.data.ids import IdMap
from mmssl.recommend.model_folder import ITEM_GRAPH_PART, SavedModel
from mmssl.recommend.similar import SimilarItems


@dataclass(frozen=True)
class Explanation:
    """What a score is made of."""

    user_id: str
    item_id: str
    score: float
    shares: dict[str, float]
    """Part of the model -> what it adds; they sum to the score."""
    nearest: dict[str, list[tuple[str, float]]]
    """Modality -> items of the user's history most like the item, with their cosines."""

    def lines(self) -> list[str]:
        """The explanation as lines of text for people."""
        lines = [f"user '{self.user_id}', item '{self.item_id}': score {self.score:.4f}"]
        width = max(len(part) for part in self.shares)
        lines += [f"  {part:<{width}}  {share:+.4f}" for part, share in self.shares.items()]
        for modality, found in self.nearest.items():
            listed = ", ".join(f"'{item}' ({cosine:.2f})" for item, cosine in found)
            lines.append(f"of the user's items nearest in {modality}: {listed or 'none has any'}")
        return lines


class Explainer:
    """Explains the scores of one model."""

    def __init__(self, model: SavedModel, similar: SimilarItems | None = None) -> None:
        self._model = model
        self._users = IdMap(model.user_ids, "user")
        self._items = IdMap(model.item_ids, "item")
        self._similar = similar or SimilarItems(model)

    def explain(self, user_id: str, item_id: str, nearest: int = 3) -> Explanation:
        """The shares of a score.

        With h_u = sum_p u_p and h_i = sum_p v_p over the parts of the vectors, the score is the sum
        of all u_p . v_q; part p has u_p . v_p and half of each u_p . v_q and u_q . v_p with another
        part q. What the user's items send along an item graph is a part by itself.

        Args:
            user_id, item_id: original ids.
            nearest: how many items of the user's history to name in each modality, at least 0.

        Raises:
            InputError: an unknown id, or a user without a training interaction, who is given what
                is popular.
        """
        user, item = int(self._users.rows([user_id])[0]), int(self._items.rows([item_id])[0])
        history = self._model.train.indices[slice(*self._model.train.indptr[user : user + 2])]
        if not len(history):
            raise InputError(
                f"user '{user_id}' has no training interaction and is given the most popular items:"
                " there is no score of the model to explain"
            )
        return Explanation(
            user_id,
            item_id,
            self._score(user, item, history),
            self._shares(user, item, history),
            {
                modality: self._nearest(item, history.astype(np.int64), modality, nearest)
                for modality in self._model.features
            },
        )

    def _score(self, user: int, item: int, history: NDArray[np.int32]) -> float:
        model, score = self._model, 0.0
        if model.user_vectors is not None and model.item_vectors is not None:
            score += float(model.user_vectors[user] @ model.item_vectors[item])
        return score + self._sent(item, history)

    def _shares(self, user: int, item: int, history: NDArray[np.int32]) -> dict[str, float]:
        parts = self._model.vector_parts
        shares: dict[str, float] = {}
        if parts:
            # In double precision: what is lost in adding up would look like a share.
            users = torch.stack([part.user[user] for part in parts.values()]).double()
            items = torch.stack([part.item[item] for part in parts.values()]).double()
            products = users @ items.T
            halves = (products.sum(dim=0) + products.sum(dim=1)) / 2
            shares = dict(zip(parts, halves.tolist(), strict=True))
        if self._model.item_graph is not None:
            shares[ITEM_GRAPH_PART] = self._sent(item, history)
        return shares

    def _sent(self, item: int, history: NDArray[np.int32]) -> float:
        """What the items of a history send an item along the graph."""
        graph = self._model.item_graph
        return 0.0 if graph is None else float(graph[history][:, [item]].sum())

    def _nearest(
        self, item: int, history: NDArray[np.int64], modality: str, count: int
    ) -> list[tuple[str, float]]:
        others = history[history != item]
        cosines = self._similar.cosines(item, others, modality)
        order = [row for row in np.argsort(-cosines, kind="stable") if not np.isnan(cosines[row])]
        ids = self._model.item_ids
        return [(ids[others[row]], float(cosines[row])) for row in order[: max(0, count)]]
