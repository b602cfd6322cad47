"""Fitting: centring, PCA and PCA whitening of a store's vectors; picking one of its layers."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from extract.errors import InputError, nearest
from extract.store import FeatureStore
from extract.transform.fitted import METHODS, FittedTransform, Method
from extract.transform.moments import moments

_PROJECTING: tuple[Method, ...] = ("pca", "whitening")


def fit(
    store: FeatureStore, method: Method, *, dim: int | None = None, shrinkage: float | None = None
) -> FittedTransform:
    """Fit a transform on the ok items of a store, streaming over its parts.

    Args:
        store: where the vectors are; complete.
        method: ``center`` subtracts the mean; ``normalise`` makes every vector's length (L2) 1,
            and has nothing to fit; ``pca`` projects the centred vectors on the ``dim`` directions
            of largest variance; ``whitening`` divides each of these by its standard deviation
            (n - 1 in the denominator), so that the covariance becomes the identity.
        dim: of pca and whitening; None: all directions in which the vectors differ at all.
        shrinkage: of whitening, 0 to 1: the covariance S is replaced by
            (1 - shrinkage) S + shrinkage tr(S) / d I, which keeps directions of little variance
            from being blown up.

    Raises:
        InputError: an option that does not act on the method, or out of its range; too few ok
            items; ``dim`` larger than the rank of the covariance, beyond which directions are
            arbitrary.
    """
    check_options(store, method, dim, shrinkage)
    width, space = store.manifest.dim, store.manifest.space
    if method == "normalise":
        return FittedTransform(method, {"norm": "l2"}, width, width, space)
    found = moments(store, scatter=method in _PROJECTING)
    if found.count < 2:
        raise InputError(
            f"{store.path}: {found.count} ok item{'' if found.count == 1 else 's'}; {method} needs"
            " at least 2 to be fitted on"
        )
    parameters: dict[str, Any] = {"fitted_on": store.digest(), "fitted_items": found.count}
    if found.scatter is None:
        return FittedTransform(method, parameters, width, width, space, {"mean": found.mean})
    covariance = found.scatter / (found.count - 1)
    variances, directions = _eigen(covariance)
    rank = _rank(variances, found.mean, found.count)
    if not rank:
        raise InputError(f"{store.path}: all {found.count} ok items have the same vector")
    if dim is not None and dim > rank:
        raise InputError(
            f"--dim {dim}: the {found.count} ok items of {store.path} differ in {rank} directions"
            f" only; choose --dim {rank} or less"
        )
    kept, parameters["rank"] = dim or rank, rank
    tensors = {
        "mean": found.mean,
        "components": directions[:kept],
        "explained_variance": variances[:kept],
    }
    # Of all directions together: a share of the trace, not of the directions kept.
    parameters["explained_variance_ratio"] = float(variances[:kept].sum() / variances.sum())
    if method == "whitening":
        alpha = shrinkage or 0.0
        parameters["shrinkage"] = alpha
        shrunk = (1 - alpha) * variances[:kept] + alpha * variances.sum() / width
        tensors["scale"] = 1 / np.sqrt(shrunk)
    return FittedTransform(method, parameters, width, kept, space, tensors)


def check_options(
    store: FeatureStore, method: Method, dim: int | None, shrinkage: float | None
) -> None:
    """Refuse options before anything is read.

    Raises:
        InputError: an unknown method, an option that does not act on it, or out of its range.
    """
    if method not in METHODS:
        raise InputError(f"--method {method}: unknown{nearest(method, METHODS)}")
    if dim is not None and method not in _PROJECTING:
        raise InputError(f"--dim {dim}: acts on pca and whitening, not on {method}")
    if dim is not None and not 1 <= dim <= store.manifest.dim:
        raise InputError(
            f"--dim {dim}: the vectors of {store.path} have {store.manifest.dim} dimensions; choose"
            f" 1 to {store.manifest.dim}"
        )
    if shrinkage is not None and method != "whitening":
        raise InputError(f"--shrinkage {shrinkage:g}: acts on whitening, not on {method}")
    if shrinkage is not None and not 0 <= shrinkage <= 1:
        raise InputError(f"--shrinkage {shrinkage:g}: must be from 0 to 1")


def layer_of(store: FeatureStore, name: str) -> FittedTransform:
    """The transform that keeps one of the layers that an encoder wrote one after another.

    Args:
        store: its fingerprint holds ``layers``, a list of (name, width) in the vectors' order.
        name: one of them.

    Raises:
        InputError: the store has one layer, or no such layer.
    """
    layers = store.manifest.fingerprint.get("layers")
    try:
        widths = {str(layer): int(width) for layer, width in layers or ()}
    except (TypeError, ValueError):
        widths = {}
    if not widths:
        raise InputError(
            f"{store.path}: --layer {name}: these features have a single layer (an encoder URI"
            " with ?layer=A,B writes several)"
        )
    whole = sum(widths.values()) == store.manifest.dim and min(widths.values()) > 0
    if not whole or len(widths) != len(layers or ()):
        raise InputError(
            f"{store.path}: its manifest names the layers {layers}, which do not make up its"
            f" {store.manifest.dim} dimensions"
        )
    if name not in widths:
        raise InputError(f"{store.path}: no layer '{name}'{nearest(name, list(widths))}")
    start = sum(list(widths.values())[: list(widths).index(name)])
    return FittedTransform(
        kind="layer",
        parameters={"layer": name},
        input_dim=store.manifest.dim,
        dim=widths[name],
        input_space=store.manifest.space,
        columns=(start, start + widths[name]),
    )


def _eigen(
    covariance: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Eigenvalues (d,), largest first and not below 0, and unit eigenvectors (d, d) as rows.

    An eigenvector's sign is arbitrary; here its component of largest magnitude is positive.
    """
    # eigh reads one triangle: rounding must not make the two differ.
    values, vectors = np.linalg.eigh((covariance + covariance.T) / 2)
    values, rows = np.maximum(values[::-1], 0), np.ascontiguousarray(vectors.T[::-1])
    largest = rows[np.arange(len(rows)), np.abs(rows).argmax(axis=1)]
    return values, rows * np.where(largest < 0, -1.0, 1.0)[:, None]


def _rank(variances: NDArray[np.float64], mean: NDArray[np.float64], count: int) -> int:
    """In how many directions the variance is more than the rounding of float64 sums.

    Vectors are float32: where any two differ, they do so by far more than that.
    """
    precision = np.finfo(np.float64).eps
    of_sums = (64 * precision * float(np.abs(mean).max())) ** 2
    floor = len(variances) * max(precision * float(variances[0]), of_sums)
    return min(int((variances > floor).sum()), count - 1)
