"""Pictures through a transformers model: ViT, DINOv2, ConvNeXt, Swin, CLIP and SigLIP towers."""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from PIL.Image import Image

from extract.encoders.base import Encoder, Modality, Raw
from extract.encoders.batching import Inputs, placed, probe_dim, run_by_shape
from extract.encoders.transformers_model import (
    HFModel,
    hub_options,
    processor_settings,
    shared_features,
)
from extract.encoders.uri import loading
from extract.encoders.vision import grey_sample

_POOLINGS = ("cls", "mean", "max", "pooler")


class HFImageEncoder(Encoder):
    """Without ``pooling=``: two towers give their shared features; a model with a class token gives
    that token; a convolutional one its pooled output; any other the mean over its tokens.
    """

    modalities: ClassVar[tuple[Modality, ...]] = ("image",)

    def __init__(self, loaded: HFModel) -> None:
        from transformers import AutoImageProcessor

        uri = loaded.uri
        asked = uri.choice("pooling", _POOLINGS)
        with loading(uri):
            auto: Any = AutoImageProcessor
            self.processor: Any = auto.from_pretrained(uri.source, **hub_options(uri))
        self.loaded = loaded
        self.model = loaded.body
        self.pooling = asked or self._usual_pooling()
        self.space = loaded.space
        self.dim = probe_dim(self, grey_sample())

    def _usual_pooling(self) -> str:
        parameters = [name for name, _ in self.model.named_parameters()]
        if any(name.endswith(("cls_token", "class_embedding")) for name in parameters):
            return "cls"
        four_dimensional = any(isinstance(m, torch.nn.Conv2d) for m in self.model.modules())
        attends = any("attention" in name or "attn" in name for name in parameters)
        convolutional = four_dimensional and not attends and not self.loaded.numbers
        return "pooler" if convolutional else "mean"

    def preprocess(self, raw: Raw) -> Inputs:
        """The model's own image processor: named tensors without a batch axis."""
        assert isinstance(raw, Image)
        processed = self.processor(images=raw, return_tensors="pt")
        return {name: value[0] for name, value in processed.items()}

    def encode(self, batch: Sequence[Inputs]) -> torch.Tensor:
        """Encode pictures, those of one size together: (n, dim) float32."""
        return torch.stack(run_by_shape(batch, self._forward, len(batch)))

    def _forward(self, stacked: dict[str, torch.Tensor]) -> torch.Tensor:
        inputs = placed(stacked, self.model)
        if self.loaded.shared:
            return shared_features(self.model.get_image_features(**inputs)).float()
        padding = stacked.get("pixel_attention_mask")

        def mask(tokens: torch.Tensor) -> torch.Tensor:
            if padding is not None:  # patches of any number, padded: SigLIP 2's NaFlex
                return padding.bool().to(tokens.device)
            return torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)

        return self.loaded.vectors(inputs, self.pooling, mask)

    def compiled_parts(self) -> list[torch.nn.Module]:
        """The network, or behind shared features its tower."""
        return [] if self.loaded.called is None else [self.loaded.called]

    def fingerprint(self) -> dict[str, Any]:
        """Digest of the weights, layer, pooling and the processor's settings."""
        return {
            **self.loaded.described(self.pooling),
            "preprocessing": processor_settings(self.processor),
        }
