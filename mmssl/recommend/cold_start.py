"""Items that nobody has interacted with yet, placed in a model by their media: no retraining."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray

from extract.errors import InputError
from mmssl.recommend.content_towers import Towers, TowerSettings
from mmssl.recommend.media_space import MediaSpace
from mmssl.recommend.model_files import ItemFeatures, grown
from mmssl.recommend.model_folder import SavedModel
from mmssl.vectors import TwoSided

# Users and items on whose scores the scales are measured.
_SAMPLE = 1000
# Scores held at once while they are: 64 MiB of float32.
_SCORES = 2**24


@dataclass(frozen=True, eq=False)
class NewItems:
    """Items that a model does not know."""

    ids: list[str]
    """Original ids."""
    features: dict[str, ItemFeatures]
    """By modality, a row an id; the modalities of the model."""
    known: tuple[str, ...] = ()
    """Ids that were brought too, but that the model knows: these stay what they are."""

    def placeable(self) -> "tuple[NewItems, list[str]]":
        """Those that have a medium, and the ids of those that have none that could be read.

        Raises:
            InputError: none has any.
        """
        there = np.any([given.present for given in self.features.values()], axis=0)
        kept = np.flatnonzero(there)
        if not len(kept):
            raise InputError("new items: not one medium of any of them could be read")
        features = {
            m: ItemFeatures(given.vectors[kept], given.present[kept])
            for m, given in self.features.items()
        }
        left_out = [self.ids[row] for row in np.flatnonzero(~there)]
        return NewItems([self.ids[row] for row in kept], features, self.known), left_out


class ColdStart:
    """Places items in a model by their media alone.

    A new item's score is alpha (c_u . W' x_i + b . x_i) + beta, by the towers of
    ``mmssl.recommend.content_towers``; alpha and beta give it the spread and the mean of the
    model's own scores, on a sample of known items taken for new ones, so that new items stand among
    the others as items of a middling popularity do. These are a few more numbers in the vectors of
    users and items: everything that reads a model reads one with new items.
    """

    def __init__(self, model: SavedModel, settings: TowerSettings | None = None) -> None:
        """Learn what media say of who likes an item; seconds for a small catalogue.

        Raises:
            InputError: the model has no media, or nothing to learn from.
        """
        require_media(model)
        if not model.train.nnz:
            raise InputError("the model has no training interaction to learn from")
        self._model = model
        self._known = np.asarray(model.train.sum(axis=0) > 0).ravel()
        settings = settings or TowerSettings()
        self._space = MediaSpace(model.features, self._known, settings.shrinkage)
        self._media = self._space.vectors(model.features)
        self._towers = Towers.learn(model.train, self._media, settings, self._space.likenesses())
        self._users = self._towers.users(model.train, self._media)
        self._active = (np.diff(model.train.indptr) > 0).astype(np.float32)
        self._scale, self._level = self._calibrated()

    def with_items(self, new: NewItems) -> SavedModel:
        """The model with new items behind its own; their rows are I, I + 1, ...

        Raises:
            InputError: an id that the model knows or that occurs twice, other modalities or lengths
                than the model's, or an item without any medium.
        """
        self._check(new)
        model, count = self._model, len(new.ids)
        shape = (len(model.user_ids), len(model.item_ids) + count)
        larger = replace(
            model,
            item_ids=[*model.item_ids, *new.ids],
            train=grown(model.train, shape),
            val=grown(model.val, shape),
            graphs={m: grown(graph, shape) for m, graph in model.graphs.items()},
            features={m: _stacked(f, new.features[m]) for m, f in model.features.items()},
        )
        media = self._space.vectors(new.features)
        rows = np.arange(len(model.item_ids), shape[1])
        return self._placed(larger, rows, media)

    def with_cold_items(self) -> SavedModel:
        """The model with its own items that have no training interaction placed as new ones are.

        An item without any medium stays as it is.
        """
        there = np.any([f.present for f in self._model.features.values()], axis=0)
        rows = np.flatnonzero(~self._known & there)
        return self._placed(self._model, rows, self._media[rows])

    def scores(self, features: Mapping[str, ItemFeatures]) -> NDArray[np.float32]:
        """How well n new items fit every user, without a grown model: (U, n) float32.

        Users without a training interaction get ``-inf``: nothing is known of them.

        Args:
            features: by modality, n rows; the modalities of the model.

        Raises:
            InputError: other modalities or lengths than the model's, or no medium of an item.
        """
        count = len(next(iter(features.values())).present) if features else 0
        self._check(
            NewItems([f"new item {n + 1}" for n in range(count)], dict(features)), ids=False
        )
        media = self._space.vectors(features)
        scores = self._scale * (self._users @ (media @ self._towers.item_weights).T)
        scores += self._scale * (media @ self._towers.bias) + self._level
        scores[self._active == 0] = -np.inf
        found: NDArray[np.float32] = scores.astype(np.float32)
        return found

    # --- placing -----------------------------------------------------------------------------

    def _placed(
        self, model: SavedModel, rows: NDArray[np.int64], media: NDArray[np.float32]
    ) -> SavedModel:
        """``rows`` of ``model``, whatever they score by now, score by their ``media`` alone."""
        users, items = len(model.user_ids), len(model.item_ids)
        old = self._model
        base = 0 if old.dim is None else old.dim
        width = base + self._users.shape[1] + 1
        user = torch.zeros(users, width)
        item = torch.zeros(items, width)
        if old.user_vectors is not None and old.item_vectors is not None:
            user[:, :base] = old.user_vectors
            item[: len(old.item_vectors), :base] = old.item_vectors
        item[rows] = 0
        user[:, base:-1] = torch.from_numpy(self._users)
        user[:, -1] = torch.from_numpy(self._active)
        item[rows, base:-1] = torch.from_numpy(self._scale * (media @ self._towers.item_weights))
        item[rows, -1] = torch.from_numpy(self._scale * (media @ self._towers.bias) + self._level)
        graph = old.item_graph
        return replace(
            model,
            user_vectors=user,
            item_vectors=item,
            item_graph=None if graph is None else _without_columns(graph, rows, items),
            modality_parts=self._parts(rows, media, user, item),
        )

    def _parts(
        self,
        rows: NDArray[np.int64],
        media: NDArray[np.float32],
        user: torch.Tensor,
        item: torch.Tensor,
    ) -> dict[str, TwoSided]:
        """What each modality brought, to new vectors as to old ones."""
        parts = {}
        base = 0 if self._model.dim is None else self._model.dim
        for modality, columns in self._space.columns().items():
            old = self._model.modality_parts.get(modality)
            if old is None and self._model.dim is not None:
                return {}
            of_user, of_item = torch.zeros_like(user), torch.zeros_like(item)
            if old is not None:
                of_user[:, :base] = old.user
                of_item[: len(old.item), :base] = old.item
            of_item[rows] = 0
            masked = np.zeros_like(self._media)
            masked[:, columns] = self._media[:, columns]
            of_user[:, base:-1] = torch.from_numpy(self._towers.users(self._model.train, masked))
            own = media[:, columns]
            of_item[rows, base:-1] = torch.from_numpy(
                self._scale * (own @ self._towers.item_weights[columns])
            )
            of_item[rows, -1] = torch.from_numpy(self._scale * (own @ self._towers.bias[columns]))
            parts[modality] = TwoSided(of_user, of_item)
        return parts

    def _calibrated(self) -> tuple[float, float]:
        """alpha and beta."""
        draw = np.random.default_rng(0)
        active, known = np.flatnonzero(self._active), np.flatnonzero(self._known)
        users = np.sort(draw.choice(active, min(_SAMPLE, len(active)), replace=False))
        items = np.sort(draw.choice(known, min(_SAMPLE, len(known)), replace=False))
        tower = self._users[users] @ (self._media[items] @ self._towers.item_weights).T
        tower += self._media[items] @ self._towers.bias
        score, step = self._model.score(torch.device("cpu")), max(1, _SCORES // len(self._known))
        # A block scores every item of the catalogue; what is kept of it is the sample.
        blocks = [users[start : start + step] for start in range(0, len(users), step)]
        scores = np.concatenate(
            [score(torch.from_numpy(rows)).numpy()[:, items] for rows in blocks]
        )
        deviation = float(tower.std())
        scale = float(scores.std()) / deviation if deviation > 0 else 0.0
        return scale, float(scores.mean()) - scale * float(tower.mean())

    def _check(self, new: NewItems, *, ids: bool = True) -> None:
        known = set(self._model.item_ids) if ids else set()
        for id_ in new.ids:
            if id_ in known:
                raise InputError(
                    f"item '{id_}' is known to the model, or is given twice: name new items alone"
                )
            known.add(id_)
        wanted, given = list(self._space.widths), list(new.features)
        if set(wanted) != set(given):
            raise InputError(
                f"new items need the model's modalities ({', '.join(wanted)}); they have:"
                f" {', '.join(given) or 'none'}"
            )
        for modality, width in self._space.widths.items():
            found = new.features[modality].vectors.shape
            if found != (len(new.ids), width):
                raise InputError(
                    f"{modality} of new items: {found[1]} numbers each, the model's have {width};"
                    " was it made by another encoder?"
                )
        there = np.any([f.present for f in new.features.values()], axis=0)
        if not there.all():
            lacking = [new.ids[row] for row in np.flatnonzero(~there)]
            more = f" and {len(lacking) - 1} more" if lacking[1:] else ""
            raise InputError(
                f"item '{lacking[0]}'{more}: not one medium that could be read; leave it out, or"
                " give it one"
            )


def require_media(model: SavedModel) -> None:
    """Refuse a model that new items cannot be placed in.

    Raises:
        InputError: it has no media.
    """
    if not model.features:
        raise InputError(
            f"model {model.info.name} keeps no media: it cannot place a new item (one that takes"
            " media, as mmssl, can, and models trained by an older version cannot)"
        )


def _without_columns(graph: sp.csr_array, rows: NDArray[np.int64], items: int) -> sp.csr_array:
    """(items, items): the graph, which sends nothing to ``rows``."""
    kept = np.ones(items, dtype=np.float32)
    kept[rows] = 0
    left = sp.csr_array(grown(graph, (items, items)) @ sp.diags_array(kept))
    left.eliminate_zeros()
    return left


def _stacked(old: ItemFeatures, new: ItemFeatures) -> ItemFeatures:
    return ItemFeatures(
        np.concatenate([old.vectors, new.vectors]), np.concatenate([old.present, new.present])
    )


def features_of(vectors: Mapping[str, NDArray[np.float32]]) -> dict[str, ItemFeatures]:
    """Embeddings by modality, (n, dim) with NaN where absent, as a model keeps them."""
    found = {}
    for modality, given in vectors.items():
        present = np.asarray(np.isfinite(given).all(axis=1), dtype=np.bool_)
        found[modality] = ItemFeatures(
            np.where(present[:, None], given, 0).astype(np.float32), present
        )
    return found
