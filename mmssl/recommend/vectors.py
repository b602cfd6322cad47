"""The final vectors of a model, where its score is made of them, and an index of its items'."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from extract.errors import InputError
from mmssl.recommend.index import IndexKind, VectorIndex
from mmssl.recommend.model_folder import SavedModel


def model_vectors(
    model: SavedModel, *, vectors_only: bool = False
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(U, d) and (I, d) float32, whose inner products are the model's score.

    Args:
        model: the model.
        vectors_only: also of a model whose score adds what a graph of items says. The inner
            products alone then rank otherwise than the model does.

    Raises:
        InputError: the model has no vectors, or, unless ``vectors_only``, not vectors alone.
    """
    if model.user_vectors is None or model.item_vectors is None:
        raise InputError(
            f"the model {model.info.name} has no vectors: it scores by a graph of items; the"
            " command `recommend` writes its lists"
        )
    if model.item_graph is not None and not vectors_only:
        raise InputError(
            f"the score of the model {model.info.name} is an inner product of vectors plus what a"
            " graph of items adds, so that its vectors alone rank otherwise than it does: take them"
            " all the same with --vectors-only, or let `recommend` write the lists"
        )
    return model.user_vectors.cpu().numpy(), model.item_vectors.cpu().numpy()


def index_of(
    model: SavedModel,
    kind: IndexKind | Literal["auto"] = "auto",
    threads: int = 1,
    *,
    vectors_only: bool = False,
) -> VectorIndex:
    """The index of a model's items, with their ids.

    Raises:
        InputError: as ``model_vectors``, or the extra ``index`` is not installed.
    """
    _, items = model_vectors(model, vectors_only=vectors_only)
    return VectorIndex.build(items, kind, threads, model.item_ids)


def sample_queries(model: SavedModel, count: int = 1000, seed: int = 0) -> NDArray[np.float32]:
    """(n, d) float32, the vectors of users drawn at random among those who were trained.

    Raises:
        InputError: the model has no vectors.
    """
    users, _ = model_vectors(model, vectors_only=True)
    trained = np.diff(model.train.indptr).nonzero()[0]
    among = trained if len(trained) else np.arange(len(users))
    drawn = np.random.default_rng(seed).choice(among, min(count, len(among)), replace=False)
    queries: NDArray[np.float32] = users[np.sort(drawn)]
    return queries
