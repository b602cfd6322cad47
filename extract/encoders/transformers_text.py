"""Texts through a transformers model: BERT and its kin, decoders, CLIP, SigLIP and CLAP towers."""

import inspect
from collections.abc import Sequence
from typing import Any, ClassVar

import torch

from extract.encoders.base import Encoder, Modality, Raw
from extract.encoders.batching import placed, probe_dim
from extract.encoders.tokenizer import require_words, tokenizer_digest
from extract.encoders.transformers_model import HFModel, hub_options, shared_features
from extract.encoders.uri import loading
from extract.pooling import pool

_POOLINGS = ("mean", "cls", "last", "max")
_USUAL_MAX_LENGTH = 512


class HFTextEncoder(Encoder):
    """Without ``pooling=``: two towers give their shared features; a decoder gives its last token;
    any other model the mean over its tokens. Padding is masked. Texts are cut at ``max_length=``
    tokens, by default what the model takes, at most 512.
    """

    modalities: ClassVar[tuple[Modality, ...]] = ("text",)

    def __init__(self, loaded: HFModel) -> None:
        from transformers import AutoTokenizer

        uri = loaded.uri
        asked = uri.choice("pooling", _POOLINGS)
        with loading(uri):
            self.tokenizer: Any = AutoTokenizer.from_pretrained(uri.source, **hub_options(uri))
        require_words(self.tokenizer, uri)
        if self.tokenizer.pad_token is None:
            # Decoders have none; what stands under the mask does not matter.
            self.tokenizer.pad_token = self.tokenizer.eos_token or self.tokenizer.unk_token
        self.loaded = loaded
        self.model = loaded.body
        self.pooling = asked or ("last" if _is_decoder(self.model.config) else "mean")
        self.max_length = self._length_limit()
        # SigLIP was trained on texts padded to the full length, and pools the last position.
        self.padded = self.model.config.model_type.startswith("siglip")
        run = self.model.get_text_features if loaded.shared else self.model.forward
        self._accepted = set(inspect.signature(run).parameters)
        self.space = loaded.space
        self.dim = probe_dim(self, "a picture of a cat")

    def _length_limit(self) -> int:
        config = self.model.config
        config = getattr(config, "text_config", None) or config
        positions = getattr(config, "max_position_embeddings", None) or 10**6
        for name, module in self.model.named_modules():
            if name.endswith("position_embeddings") and getattr(module, "padding_idx", None):
                # RoBERTa and its kin count positions from the padding index on.
                positions = min(positions, module.num_embeddings - module.padding_idx - 1)
        limit = int(min(positions, self.tokenizer.model_max_length))
        asked = self.loaded.uri.integer("max_length")
        if asked is None:
            return min(limit, _USUAL_MAX_LENGTH)
        if not 1 <= asked <= limit:
            self.loaded.uri.refuse(
                f"option max_length={asked}: the model takes 1 to {limit} tokens"
            )
        return asked

    def preprocess(self, raw: Raw) -> dict[str, list[int]]:
        """Tokenise, cut at ``max_length``; padding waits for the batch.

        Raises:
            ValueError: the tokenizer finds no token in the text.
        """
        assert isinstance(raw, str)
        # The same settings at every call, the first of which the constructor made: the tokenizer's
        # own are then never changed under the hands of another worker.
        tokens = self.tokenizer(raw, truncation=True, max_length=self.max_length)
        if not tokens["input_ids"]:
            raise ValueError("the tokenizer finds no token in the text")
        return {name: values for name, values in tokens.items() if name in self._accepted}

    def length(self, prepared: dict[str, list[int]]) -> int:
        """The number of tokens."""
        return len(prepared["input_ids"])

    def encode(self, batch: Sequence[dict[str, list[int]]]) -> torch.Tensor:
        """Encode texts, padded on the right: (n, dim) float32."""
        padded = self.tokenizer.pad(
            {name: [item[name] for item in batch] for name in batch[0]},
            padding="max_length" if self.padded else True,
            max_length=self.max_length if self.padded else None,
            padding_side="right",
            return_tensors="pt",
        )
        inputs = placed({k: v for k, v in padded.items() if k in self._accepted}, self.model)
        if self.loaded.shared:
            return shared_features(self.model.get_text_features(**inputs)).float()
        hidden = self.loaded.hidden(inputs, self.pooling)
        lengths = torch.tensor([len(item["input_ids"]) for item in batch], device=hidden.device)
        mask = torch.arange(hidden.shape[1], device=hidden.device) < lengths.unsqueeze(1)
        return pool(hidden, mask, self.pooling)  # type: ignore[arg-type]

    def fingerprint(self) -> dict[str, Any]:
        """Digest of the weights, layer, pooling, length, and digest of the tokenizer."""
        return {
            "library": "transformers",
            "name": self.loaded.uri.label,
            "weights": self.loaded.digest,
            "layer": self.loaded.layer,
            "pooling": "projection" if self.loaded.shared else self.pooling,
            "preprocessing": {
                "tokenizer": type(self.tokenizer).__name__,
                "tokenizer_sha256": tokenizer_digest(self.tokenizer),
                "max_length": self.max_length,
            },
        }


def _is_decoder(config: Any) -> bool:
    """Whether a model only ever predicts the next token, so that its last token has seen all."""
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    )

    kind = config.model_type
    return (
        kind in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
        and kind not in MODEL_FOR_MASKED_LM_MAPPING_NAMES
        and not getattr(config, "is_encoder_decoder", False)
    )
