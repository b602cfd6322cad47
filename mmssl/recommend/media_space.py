"""The raw embeddings of all modalities as one whitened vector an item."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from mmssl.recommend.model_files import ItemFeatures

# Directions along which plain likeness is taken; more of them changed nothing.
_LIKENESS_DIM = 64


class MediaSpace:
    """The raw embeddings of all modalities as one vector an item.

    Each modality is whitened by the items that are known from interactions, x = V^T (e - mean) /
    sqrt(w + shrinkage max w) with the eigenvectors V and eigenvalues w of their covariance, and
    scaled to length one; a modality that an item lacks is zero. An encoder's few strong directions
    would drown the others, which are many and tell users apart (docs/guides/cold_start.md).
    """

    def __init__(
        self,
        features: Mapping[str, ItemFeatures],
        known: NDArray[np.bool_],
        shrinkage: float,
    ) -> None:
        """Take the statistics of the items that are ``known``, (I,) bool."""
        self.widths = {m: given.vectors.shape[1] for m, given in features.items()}
        self._means: dict[str, NDArray[np.float32]] = {}
        self._maps: dict[str, NDArray[np.float32]] = {}
        for modality, given in features.items():
            vectors = given.vectors[given.present & known].astype(np.float64)
            width = vectors.shape[1]
            mean = vectors.mean(axis=0) if len(vectors) else np.zeros(width)
            centred = vectors - mean
            values, directions = np.linalg.eigh(centred.T @ centred / max(1, len(vectors)))
            values = values.clip(min=0)
            spread = np.sqrt(values + shrinkage * values[-1])
            # Nothing varies: there is nothing to tell items apart by.
            scale = np.divide(1, spread, out=np.zeros(width), where=spread > 0)
            self._means[modality] = mean.astype(np.float32)
            self._maps[modality] = (directions * scale).astype(np.float32)

    def columns(self) -> dict[str, slice]:
        """Where each modality's numbers stand."""
        ends = np.cumsum(list(self.widths.values()))
        return {
            m: slice(int(end) - width, int(end))
            for (m, width), end in zip(self.widths.items(), ends, strict=True)
        }

    def likenesses(self) -> dict[str, NDArray[np.float32]]:
        """By modality (D, r): what undoes the whitening, so that products tell plain likeness.

        Along the directions in which the modality's embeddings vary most, 64 at most.
        """
        found = {}
        for modality, columns in self.columns().items():
            length = np.linalg.norm(self._maps[modality], axis=0)
            spread = np.divide(1, length, out=np.zeros_like(length), where=length > 0)
            kept = np.argsort(-spread, kind="stable")[:_LIKENESS_DIM]
            weights = np.zeros((sum(self.widths.values()), len(kept)), dtype=np.float32)
            weights[columns.start + kept, np.arange(len(kept))] = spread[kept]
            found[modality] = weights
        return found

    def vectors(self, features: Mapping[str, ItemFeatures]) -> NDArray[np.float32]:
        """(n, D) float32 of n items, D the sum of the modalities' dimensions."""
        blocks = []
        for modality in self.widths:
            given = features[modality]
            white = (given.vectors - self._means[modality]) @ self._maps[modality]
            white *= given.present[:, None]
            blocks.append(white / np.linalg.norm(white, axis=1, keepdims=True).clip(min=1e-12))
        return np.concatenate(blocks, axis=1).astype(np.float32)
