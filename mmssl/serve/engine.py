"""A model with its items' cards, ready to answer; a server holds one and may change to another."""

import gc
import json
from collections.abc import Sequence
from copy import deepcopy
from functools import lru_cache, partial
from typing import Literal, NamedTuple, Self, TypeAlias

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from extract.device import resolve_device
from extract.errors import InputError
from extract.files import sha256_file
from mmssl.evaluation.ranking import Score, top_k_of_block
from mmssl.recommend.explain import Explainer
from mmssl.recommend.index import VectorIndex, digest_of
from mmssl.recommend.model_folder import SavedModel
from mmssl.recommend.recommender import Recommender
from mmssl.recommend.similar import SimilarItems
from mmssl.serve.answers import Item, Similar
from mmssl.serve.cards import Cards, read_cards
from mmssl.serve.matching import Matcher
from mmssl.serve.media import thumbnail
from mmssl.serve.newcomers import Newcomers
from mmssl.serve.settings import ServeSettings

# Multiplications for one list that take less time than handing them to another thread and back
# would cost all requests together. Ranking a score costs as much as some more of them.
_SHORT, _RANKING = 2**22, 32
# What is kept of what was made once: small pictures, items as JSON, and sums of parts of the score,
# each of which may be as large as the vectors.
_THUMBNAILS, _CARDS, _SCORES = 2048, 2**16, 8


Source: TypeAlias = Literal["model", "popularity"]


class UnknownIdError(InputError):
    """A user or an item that the model does not know."""


class RankedItems(NamedTuple):
    """A list: item rows, best first, with their scores, and what they come from."""

    rows: NDArray[np.int64]
    scores: NDArray[np.float32]
    source: Source


class Engine:
    """One version of the model, shared by all requests; nothing in it changes."""

    def __init__(
        self,
        model: SavedModel,
        cards: Cards,
        device: str,
        digest: str,
        index: VectorIndex | None = None,
    ) -> None:
        """Put a model on a device.

        Args:
            model: what recommends.
            cards: of its items, in its order.
            device: as ``resolve_device`` takes it.
            digest: SHA-256 of the model's ``config.json``, which tells it from every other.
            index: of its item vectors; lists are then looked up there, not ranked in full.

        Raises:
            InputError: the index is not of this model's vectors, or they are not all of its score.
        """
        if index is not None:
            _check_index(index, model)
        self.model = model
        self.cards = cards
        self.digest = digest
        self.index = index
        self.recommender = Recommender(model, device)
        self.similar = SimilarItems(model)
        self.explainer = Explainer(model, self.similar)
        self.user_names = Matcher(pl.Series(model.user_ids, dtype=pl.String))
        # Kept here and not by the cards: nothing then refers to itself, and the memory of an old
        # model is free as soon as its last request is answered.
        self.thumbnail = lru_cache(maxsize=_THUMBNAILS)(partial(thumbnail, cards))
        self.card_json = lru_cache(maxsize=_CARDS)(partial(_card_json, cards))
        self.device = resolve_device(device)
        self.newcomers = Newcomers(model)
        self._seen = model.seen()
        counts = np.bincount(model.train.indices, minlength=len(model.item_ids))
        self._popularity = torch.from_numpy(counts.astype(np.float32)).to(self.device)
        self._cold = np.diff(model.train.indptr) == 0
        self._score = lru_cache(maxsize=_SCORES)(partial(_score_of, model, self.device))

    @classmethod
    def load(cls, settings: ServeSettings) -> Self:
        """Read the model and the item table.

        Raises:
            InputError: one of them, or the index, cannot be read, or they do not fit together.
        """
        digest = sha256_file(settings.config_file) if settings.config_file.is_file() else ""
        # What is loaded lies in the files themselves. A copy stays whole whoever writes over them.
        model = deepcopy(SavedModel.load(settings.model))
        cards = read_cards(settings.source, model.item_ids, settings.max_seconds)
        index = None if settings.index is None else VectorIndex.load(settings.index)
        engine = cls(model, cards, settings.device, digest, index)
        # Millions of ids that stay need not be gone through by the garbage collector again and
        # again: that stops all requests for a tenth of a second.
        gc.freeze()
        return engine

    @property
    def is_quick(self) -> bool:
        """Whether a list takes less than about a millisecond."""
        return len(self.model.item_ids) * max(self.model.dim or 0, _RANKING) <= _SHORT

    def user_row(self, user: str) -> int:
        """A user's row.

        Raises:
            UnknownIdError: there is no such user.
        """
        if user not in self.recommender.user_ids:
            raise UnknownIdError(f"unknown user id '{user}'")
        return int(self.recommender.user_ids.rows([user])[0])

    def item_row(self, item: str) -> int:
        """An item's row.

        Raises:
            UnknownIdError: there is no such item.
        """
        if item not in self.recommender.item_ids:
            raise UnknownIdError(f"unknown item id '{item}'")
        return int(self.recommender.item_ids.rows([item])[0])

    def history(self, user: str) -> NDArray[np.int64]:
        """The items that a user has interacted with, in the model's order.

        Raises:
            UnknownIdError: there is no such user.
        """
        row = self.user_row(user)
        start, stop = self._seen.indptr[row], self._seen.indptr[row + 1]
        return np.sort(self._seen.indices[start:stop]).astype(np.int64)

    def recommend(self, user: str, k: int, parts: Sequence[str] = ()) -> RankedItems:
        """The k best items that a user has not seen, as ``Recommender.recommend`` ranks them.

        Args:
            user: original id.
            k: items; a user with fewer candidates gets fewer.
            parts: of the score; none: all.

        Raises:
            UnknownIdError: there is no such user.
            InputError: there is no such part.
        """
        row = self.user_row(user)
        scored = self._score(frozenset(parts))
        seen = self._seen.indices[slice(*self._seen.indptr[row : row + 2])].astype(np.int64)
        if self._cold[row]:
            return self.popular(seen, k)
        if self.index is not None and self.model.user_vectors is not None and not parts:
            found = self.looked_up(self.model.user_vectors[row : row + 1], seen, k)
            if found is not None:
                return found
        with torch.inference_mode():
            return self.best(scored(torch.tensor([row]))[0], seen, k, "model")

    def recommend_for(self, history: Sequence[str], k: int) -> RankedItems:
        """The k best items, other than these, for somebody new with such a history.

        Without a history these are the most popular items.

        Raises:
            UnknownIdError: there is no such item.
        """
        seen = np.unique(np.array([self.item_row(item) for item in history], dtype=np.int64))
        if not len(seen):
            return self.popular(seen, k)
        fold_in = self.newcomers.fold_in
        matrix = fold_in.matrix([history])
        user = fold_in.vectors(matrix)
        if self.index is not None and user is not None:
            found = self.looked_up(user, seen, k)
            if found is not None:
                return found
        scores = torch.from_numpy(fold_in.scores(matrix)[0])
        return self.best(scores, seen, k, "model")

    def popular(self, seen: NDArray[np.int64], k: int) -> RankedItems:
        """The k unseen items of most training users."""
        return self.best(self._popularity.clone(), seen, k, "popularity")

    def best(self, scores: Tensor, seen: NDArray[np.int64], k: int, source: Source) -> RankedItems:
        """The k best of all items by (I,) scores, which it overwrites."""
        with torch.inference_mode():
            scores[torch.from_numpy(seen).to(scores.device)] = -torch.inf
            items, values = top_k_of_block(scores[None], k)
        rows = items[0].cpu().numpy()
        listed = rows >= 0
        return RankedItems(rows[listed], values[0].float().cpu().numpy()[listed], source)

    def looked_up(self, user: Tensor, seen: NDArray[np.int64], k: int) -> RankedItems | None:
        """The k best items for a (1, d) vector by the index.

        None without an index, or where it finds too few that have not been seen.
        """
        index = self.index
        if index is None:
            return None
        # As many more as may have to be left out.
        wanted = min(k + len(seen), index.items)
        scores, rows = (found[0] for found in index.search(user.numpy(), wanted))
        listed = (rows >= 0) & ~np.isin(rows, seen)
        scores, rows = scores[listed], rows[listed]
        if len(rows) < min(k, index.items - len(seen)):
            return None
        # The index leaves open which of equal scores comes first.
        order = np.lexsort((rows, -scores))[:k]
        return RankedItems(rows[order], scores[order], "model")

    def similar_items(self, found: pl.DataFrame) -> list[Similar]:
        """What ``SimilarItems`` found, with the items' cards."""
        return [
            Similar(rank=rank, similarity=similarity, item=self.item(item))
            for item, similarity, rank in found.select("item_id", "similarity", "rank").iter_rows()
        ]

    def item(self, item: str) -> Item:
        """An item's card.

        Raises:
            UnknownIdError: there is no such item.
        """
        return Item.model_validate(self.cards.card(self.item_row(item)))


def _card_json(cards: Cards, row: int) -> bytes:
    return json.dumps(cards.card(row)).encode()


def _score_of(model: SavedModel, device: torch.device, parts: frozenset[str]) -> Score:
    return model.score(device, sorted(parts) or None)


def _check_index(index: VectorIndex, model: SavedModel) -> None:
    if model.item_vectors is None or model.item_graph is not None:
        raise InputError(
            f"--index: the score of the model {model.info.name} is not that of its vectors alone;"
            " serve it without an index"
        )
    if index.vectors_digest != digest_of(model.item_vectors.numpy()):
        raise InputError("--index: it was made from another model's vectors; export it anew")
