"""XSimGCL: noisy propagation whose layers are contrasted (Yu et al., TKDE 2023)."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from mmssl.baselines.graph import GraphBaseline, GraphBaselineConfig, Sides, mean_of
from mmssl.config import MixedPrecisionConfig, Positive, Weight
from mmssl.data.sampling import Batch
from mmssl.objectives.cross_view import cross_view
from mmssl.vectors import perturb


class XSimGCLConfig(GraphBaselineConfig, MixedPrecisionConfig):
    """The settings of XSimGCL."""

    model: Literal["xsimgcl"] = "xsimgcl"
    name: str = "xsimgcl"
    noise: Weight = 0.2
    """Length of the noise on every vector of every layer, epsilon."""
    contrast_layer: Annotated[int, Field(ge=0)] = 1
    """The layer that the final vectors are contrasted with, l*; 0 are the vectors before any."""
    contrast_weight: Weight = 0.2
    """lambda, of the users' contrast and of the items' alike."""
    temperature: Positive = 0.15
    """tau of both contrasts."""

    @model_validator(mode="after")
    def _the_layer_is_there(self) -> Self:
        if self.contrast_layer > self.layers:
            raise ValueError(
                f"contrast_layer {self.contrast_layer} is above the last of {self.layers} layers"
            )
        return self


class XSimGCL(GraphBaseline):
    """One forward pass a step gives the final vectors, and the layer that they are contrasted with.

    e^(l) = A e^(l-1) + noise; the noise on a vector has the length epsilon and the vector's own
    signs. The final vectors are the mean of layers 1..L, without layer 0, so that nodes without an
    interaction score zero. The same noisy pass is ranked by BPR and contrasted, final vectors
    against those of layer l*, within the batch's distinct users and distinct positive items. There
    is no noise when scoring.
    """

    config: XSimGCLConfig
    what_to_lower: ClassVar[Mapping[str, str]] = {
        "user_contrast": "contrast_weight (or raise temperature)",
        "item_contrast": "contrast_weight (or raise temperature)",
    }

    def final(self) -> tuple[Tensor, Tensor]:
        """The mean of layers 1..L."""
        return mean_of(self._layers()[1:])

    def _layers(self) -> list[Sides]:
        return self.propagate(self.graph, self._perturb if self.training else None)

    def _perturb(self, vectors: Tensor) -> Tensor:
        return perturb(vectors, torch.rand_like(vectors), self.config.noise)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """``bpr``, ``embedding_l2``, ``user_contrast`` and ``item_contrast``."""
        layers = self._layers()
        final = mean_of(layers[1:])
        sides = ("user", batch.users), ("item", batch.positives)
        contrasted = zip(sides, final, layers[self.config.contrast_layer], strict=True)
        contrasts = {}
        for (side, nodes), one, other in contrasted:
            distinct = torch.unique(nodes)
            contrast = cross_view(one[distinct], other[distinct], self.config.temperature)
            contrasts[f"{side}_contrast"] = self.config.contrast_weight * contrast
        return self.ranking_losses(batch, final) | contrasts
