"""A model with its items' cards, ready to answer; a server holds one and may change to another."""

from collections.abc import Sequence
from copy import deepcopy
from typing import Literal, NamedTuple, Self

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from extract.device import resolve_device
from extract.errors import InputError
from extract.files import sha256_file
from mmssl.evaluation.ranking import Score, top_k_of_block
from mmssl.recommend.explain import Explainer
from mmssl.recommend.model_folder import SavedModel
from mmssl.recommend.recommender import Recommender
from mmssl.recommend.similar import SimilarItems
from mmssl.serve.answers import Item, Similar
from mmssl.serve.cards import Cards, read_cards
from mmssl.serve.matching import Matcher
from mmssl.serve.media import Thumbnails
from mmssl.serve.settings import ServeSettings

# Multiplications for one list that take less time than handing them to another thread and back
# would cost all requests together.
_SHORT = 2**22


class UnknownIdError(InputError):
    """A user or an item that the model does not know."""


class RankedItems(NamedTuple):
    """A list: item rows, best first, with their scores, and what they come from."""

    rows: NDArray[np.int64]
    scores: NDArray[np.float32]
    source: Literal["model", "popularity"]


class Engine:
    """One version of the model, shared by all requests; nothing in it changes."""

    def __init__(self, model: SavedModel, cards: Cards, device: str, digest: str) -> None:
        """Put a model on a device.

        Args:
            model: what recommends.
            cards: of its items, in its order.
            device: as ``resolve_device`` takes it.
            digest: SHA-256 of the model's ``config.json``, which tells it from every other.
        """
        self.model = model
        self.cards = cards
        self.digest = digest
        self.recommender = Recommender(model, device)
        self.similar = SimilarItems(model)
        self.explainer = Explainer(model, self.similar)
        self.user_names = Matcher(pl.Series(model.user_ids, dtype=pl.String))
        self.thumbnails = Thumbnails(cards)
        self.device = resolve_device(device)
        self._seen = model.seen()
        counts = np.bincount(model.train.indices, minlength=len(model.item_ids))
        self._popularity = torch.from_numpy(counts.astype(np.float32)).to(self.device)
        self._cold = np.diff(model.train.indptr) == 0
        self._scores: dict[frozenset[str], Score] = {}

    @classmethod
    def load(cls, settings: ServeSettings) -> Self:
        """Read the model and the item table.

        Raises:
            InputError: either cannot be read.
        """
        digest = sha256_file(settings.config_file) if settings.config_file.is_file() else ""
        # What is loaded lies in the files themselves. A copy stays whole whoever writes over them.
        model = deepcopy(SavedModel.load(settings.model))
        cards = read_cards(settings.source, model.item_ids, settings.max_seconds)
        return cls(model, cards, settings.device, digest)

    @property
    def is_quick(self) -> bool:
        """Whether a list takes less than about a millisecond."""
        return len(self.model.item_ids) * (self.model.dim or 1) <= _SHORT

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
        scored = self._score(parts)
        cold = bool(self._cold[row])
        with torch.inference_mode():
            if cold:
                scores = self._popularity.clone()[None]
            else:
                scores = scored(torch.tensor([row]))
            start, stop = self._seen.indptr[row], self._seen.indptr[row + 1]
            seen = torch.from_numpy(self._seen.indices[start:stop].astype(np.int64))
            scores[0, seen.to(scores.device)] = -torch.inf
            items, values = top_k_of_block(scores, k)
        rows = items[0].cpu().numpy()
        listed = rows >= 0
        source: Literal["model", "popularity"] = "popularity" if cold else "model"
        return RankedItems(rows[listed], values[0].float().cpu().numpy()[listed], source)

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

    def _score(self, parts: Sequence[str]) -> Score:
        chosen = frozenset(parts)
        if chosen not in self._scores:
            self._scores[chosen] = self.model.score(self.device, parts or None)
        return self._scores[chosen]
