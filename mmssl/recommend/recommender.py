"""Recommendations from a trained model: ranked items with the original ids of users and items."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import Tensor

from extract.device import resolve_device
from extract.errors import InputError
from extract.progress import progress_bar
from mmssl.baselines.popularity import popularity_score
from mmssl.data.ids import IdMap
from mmssl.evaluation.ranking import Score, rank_blocks
from mmssl.recommend.caps import Cap, capped_blocks
from mmssl.recommend.model_folder import SavedModel
from mmssl.recommend.tables import SCHEMA, open_writer


@dataclass(frozen=True)
class RecommendationReport:
    """What ``recommend_to`` wrote, in numbers."""

    path: Path
    users: int
    """Users asked for and known."""
    rows: int
    """Recommendations written."""
    cold_users: int
    """Users without a training interaction, given the most popular items."""
    short_lists: int
    """Users with fewer than k candidates."""
    unknown: tuple[str, ...]
    """Users left out because the model does not know them."""
    unknown_items: tuple[str, ...] = ()
    """Items to list, or not to list, that the model does not know."""

    def lines(self) -> list[str]:
        """The report as lines of text for people."""
        lines = [f"{self.path}: recommendations {self.rows:,}, users {self.users:,}"]
        if self.cold_users:
            lines.append(
                f"users without a training interaction: {self.cold_users:,}; they get the most"
                " popular items (column source: popularity)"
            )
        if self.short_lists:
            lines.append(f"users with fewer candidates than asked for: {self.short_lists:,}")
        for kind, unknown in (("users", self.unknown), ("items", self.unknown_items)):
            if unknown:
                shown = ", ".join(f"'{id_}'" for id_ in unknown[:3])
                more = ", ..." if unknown[3:] else ""
                lines.append(f"unknown {kind} skipped: {len(unknown):,} ({shown}{more})")
        return lines


class _Block(NamedTuple):
    frame: pl.DataFrame
    users: int
    short_lists: int


class Recommender:
    """Ranks items for the users that a model was trained with.

    A user without a training interaction has a vector that nothing was learned for; such a user
    gets the items with the most training users instead, and ``source`` says so.
    """

    def __init__(self, model: SavedModel, device: str = "auto") -> None:
        """Put a loaded model on a device (``auto``, ``cpu``, ``cuda:N``, ``mps``)."""
        self.model = model
        self.user_ids = IdMap(model.user_ids, "user")
        self.item_ids = IdMap(model.item_ids, "item")
        self._ids = pl.Series(model.user_ids, dtype=pl.String)
        self._item_ids = pl.Series(model.item_ids, dtype=pl.String)
        self._seen = model.seen()
        self._nothing = csr_array(self._seen.shape, dtype=np.float32)
        self._cold = np.diff(model.train.indptr) == 0
        place = resolve_device(device)
        self._popularity = popularity_score(model.train, place)
        self._device = place
        self._trained = model.score(place)

    @classmethod
    def load(cls, path: Path | str, device: str = "auto") -> Self:
        """Read the model of a run folder, or of its ``model/`` folder.

        Raises:
            InputError: no whole model there, or no such device.
        """
        return cls(SavedModel.load(Path(path)), device)

    def recommend(
        self,
        users: Sequence[str] | None = None,
        k: int = 20,
        *,
        exclude_seen: bool = True,
        only_items: Sequence[str] | None = None,
        without_items: Sequence[str] = (),
        skip_unknown: bool = False,
        block: int | None = None,
        parts: Collection[str] | None = None,
        caps: Sequence[Cap] = (),
    ) -> pl.DataFrame:
        """The k best items of each user, best first, as one table in memory.

        Args:
            users: original ids, each answered once, in this order; None for all.
            k: items a user; a user with fewer candidates gets fewer rows.
            exclude_seen: leave out the training and validation items of a user.
            only_items: original ids of the items that may be listed; None for all.
            without_items: original ids of items that may not.
            skip_unknown: leave out ids that the model does not know, instead of refusing.
            block: users ranked at a time; by default as memory suggests.
            parts: names of ``model.part_names`` that are to count; None for all.
            caps: how many items of a list may share a value; what they leave out is made up for
                from further down the ranking.

        Returns:
            Columns ``user_id``, ``item_id``, ``score`` (float32; a count of users where the source
            is popularity), ``rank`` (from 1) and ``source`` (``model`` or ``popularity``).

        Raises:
            InputError: unknown ids or parts, no item left, or k below 1.
        """
        rows, _ = self._rows(users, k, skip_unknown)
        candidates, _ = self._candidates(only_items, without_items, skip_unknown)
        blocks = self._blocks(rows, k, exclude_seen, candidates, block, parts, caps)
        frames = [part.frame for part in blocks]
        return pl.concat([pl.DataFrame(schema=SCHEMA), *frames])

    def recommend_to(
        self,
        path: Path | str,
        users: Sequence[str] | None = None,
        k: int = 20,
        *,
        exclude_seen: bool = True,
        only_items: Sequence[str] | None = None,
        without_items: Sequence[str] = (),
        skip_unknown: bool = False,
        block: int | None = None,
        parts: Collection[str] | None = None,
        caps: Sequence[Cap] = (),
        progress: bool = False,
    ) -> RecommendationReport:
        """Write the same table block by block to ``.parquet``, ``.csv``, ``.tsv`` or ``.jsonl``.

        Memory does not grow with the number of users; the file appears when it is whole. With
        ``progress``, users done, their rate and the time left are shown on standard error.

        Raises:
            InputError: unknown ids or parts, no item left, k below 1, an unknown suffix, or a path
                that cannot be written.
        """
        path = Path(path)
        rows, unknown = self._rows(users, k, skip_unknown)
        candidates, unknown_items = self._candidates(only_items, without_items, skip_unknown)
        written = short = 0
        bar = progress_bar("recommending", len(rows), "users", shown=progress)
        with open_writer(path) as write, bar as advance:
            for part in self._blocks(rows, k, exclude_seen, candidates, block, parts, caps):
                write(part.frame)
                written += len(part.frame)
                short += part.short_lists
                advance(part.users)
        return RecommendationReport(
            path=path,
            users=len(rows),
            rows=written,
            cold_users=int(self._cold[rows].sum()),
            short_lists=short,
            unknown=tuple(unknown),
            unknown_items=tuple(unknown_items),
        )

    def _rows(
        self, users: Sequence[str] | None, k: int, skip_unknown: bool
    ) -> tuple[NDArray[np.int64], list[str]]:
        """The users' rows, each once, and the ids that were skipped."""
        if k < 1:
            raise InputError(f"k is the number of items a user and must be at least 1, not {k}")
        if users is None:
            return np.arange(len(self.user_ids)), []
        return _rows_of(users, self.user_ids, skip_unknown)

    def _candidates(
        self, only: Sequence[str] | None, without: Sequence[str], skip_unknown: bool
    ) -> tuple[NDArray[np.bool_] | None, list[str]]:
        """The items that may be listed, None for all, and the ids that were skipped."""
        if only is None and not without:
            return None, []
        allowed = np.full(len(self.item_ids), only is None)
        unknown: list[str] = []
        if only is not None:
            rows, unknown = _rows_of(only, self.item_ids, skip_unknown)
            allowed[rows] = True
        rows, more = _rows_of(without, self.item_ids, skip_unknown)
        allowed[rows] = False
        if not allowed.any():
            raise InputError("no item is left to recommend: allow more items, or forbid fewer")
        return allowed, list(dict.fromkeys([*unknown, *more]))

    def _score_by(self, parts: Collection[str] | None) -> Score:
        """The model's score by some of its parts; of users it knows nothing of, popularity."""
        trained = self._trained if parts is None else self.model.score(self._device, parts)

        def score(users: Tensor) -> Tensor:
            scores = trained(users)
            cold = torch.from_numpy(self._cold[users.numpy()].nonzero()[0]).to(scores.device)
            if len(cold):
                scores[cold] = self._popularity(cold)
            return scores

        return score

    def _blocks(
        self,
        rows: NDArray[np.int64],
        k: int,
        exclude_seen: bool,
        candidates: NDArray[np.bool_] | None,
        block: int | None,
        parts: Collection[str] | None,
        caps: Sequence[Cap],
    ) -> Iterator[_Block]:
        exclude = self._seen if exclude_seen else self._nothing
        score = self._score_by(parts)
        if caps:
            blocks = capped_blocks(score, rows, exclude, k, caps, block, candidates)
        else:
            blocks = rank_blocks(score, rows, exclude, k, block, candidates=candidates)
        for ranked in blocks:
            listed = ranked.items >= 0
            place, position = listed.nonzero()
            users = ranked.users[place]
            frame = pl.DataFrame(
                {
                    "user_id": self._ids.gather(users),
                    "item_id": self._item_ids.gather(ranked.items[listed]),
                    "score": ranked.scores[listed],
                    "rank": position + 1,
                    "source": pl.Series(self._cold[users]).replace_strict(
                        {True: "popularity", False: "model"}, return_dtype=pl.String
                    ),
                },
                schema=SCHEMA,
            )
            yield _Block(frame, len(ranked.users), int((listed.sum(axis=1) < k).sum()))


def _rows_of(
    given: Sequence[str], ids: IdMap, skip_unknown: bool
) -> tuple[NDArray[np.int64], list[str]]:
    """The rows of ids, each once, and those that were skipped.

    Raises:
        InputError: an unknown id, unless these are to be skipped.
    """
    distinct = list(dict.fromkeys(given))
    unknown = [id_ for id_ in distinct if id_ not in ids] if skip_unknown else []
    left_out = set(unknown)
    return ids.rows(id_ for id_ in distinct if id_ not in left_out), unknown
