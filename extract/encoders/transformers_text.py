"""Texts through a transformers model: BERT and its kin, decoders, CLIP, SigLIP and CLAP towers."""

import inspect
from collections.abc import Sequence
from typing import Any, ClassVar

import torch

from extract.encoders.base import Encoder, Modality, Raw
from extract.encoders.batching import placed, probe_dim
from extract.encoders.chunks import Tokens, chunks_from, encode_chunks
from extract.encoders.prefix import prefix_from
from extract.encoders.tokenizer import require_words, tokenizer_digest
from extract.encoders.transformers_model import HFModel, hub_options, shared_features
from extract.encoders.uri import loading

_POOLINGS = ("mean", "cls", "last", "max")
_USUAL_MAX_LENGTH = 512


class HFTextEncoder(Encoder):
    """Without ``pooling=``: two towers give their shared features; a decoder gives its last token;
    any other model the mean over its tokens. Padding is masked. ``prefix=`` stands before every
    text (E5's names have "passage: " by default). Texts are cut at ``max_length=`` tokens, by
    default what the model takes, at most 512; with ``chunk=`` they are read to their end.
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
        limit = self._length_limit()
        self.max_length = self._asked_length(limit)
        self.prefix = prefix_from(uri)
        self.chunks = chunks_from(uri, self.tokenizer, limit, self.prefix)
        # SigLIP was trained on texts padded to the full length, and pools the last position.
        self.padded = self.model.config.model_type.startswith("siglip")
        run = self.model.get_text_features if loaded.shared else self.model.forward
        self._accepted = set(inspect.signature(run).parameters)
        self.space = loaded.space
        self.dim = probe_dim(self, "a picture of a cat")

    def _length_limit(self) -> int:
        """The most tokens that the model takes."""
        config = self.model.config
        config = getattr(config, "text_config", None) or config
        positions = getattr(config, "max_position_embeddings", None) or 10**6
        for name, module in self.model.named_modules():
            if name.endswith("position_embeddings") and getattr(module, "padding_idx", None):
                # RoBERTa and its kin count positions from the padding index on.
                positions = min(positions, module.num_embeddings - module.padding_idx - 1)
        return int(min(positions, self.tokenizer.model_max_length))

    def _asked_length(self, limit: int) -> int:
        uri = self.loaded.uri
        asked = uri.integer("max_length")
        if asked is None:
            return min(limit, _USUAL_MAX_LENGTH)
        if "chunk" in uri.options:
            uri.refuse("option max_length= cuts texts, chunk= reads them to their end: give one")
        if not 1 <= asked <= limit:
            uri.refuse(f"option max_length={asked}: the model takes 1 to {limit} tokens")
        return asked

    def preprocess(self, raw: Raw) -> list[Tokens]:
        """Tokenise and cut: one piece, or the text's chunks; padding waits for the batch.

        Raises:
            ValueError: the tokenizer finds no token in the text.
        """
        assert isinstance(raw, str)
        # The same settings at every call, the first of which the constructor made: the tokenizer's
        # own are then never changed under the hands of another worker.
        if self.chunks is None:
            pieces = [
                self.tokenizer(self.prefix + raw, truncation=True, max_length=self.max_length)
            ]
        else:
            pieces = self.chunks.cut(raw)
        if not pieces[0]["input_ids"] or (self.prefix and not raw.strip()):
            raise ValueError("the tokenizer finds no token in the text")
        return [{name: p[name] for name in p if name in self._accepted} for p in pieces]

    def length(self, prepared: list[Tokens]) -> int:
        """The number of tokens, in all chunks."""
        return sum(len(piece["input_ids"]) for piece in prepared)

    def encode(self, batch: Sequence[list[Tokens]]) -> torch.Tensor:
        """Encode texts: (n, dim) float32; a forward pass holds at most n chunks."""
        return encode_chunks(batch, self.chunks, self._forward, self.pooling)

    def _forward(self, pieces: list[Tokens]) -> torch.Tensor:
        """Texts that the model takes as they are, padded on the right: (n, dim) float32."""
        padded = self.tokenizer.pad(
            {name: [piece[name] for piece in pieces] for name in pieces[0]},
            padding="max_length" if self.padded else True,
            max_length=self.max_length if self.padded else None,
            padding_side="right",
            return_tensors="pt",
        )
        inputs = placed({k: v for k, v in padded.items() if k in self._accepted}, self.model)
        if self.loaded.shared:
            return shared_features(self.model.get_text_features(**inputs)).float()
        lengths = torch.tensor([len(piece["input_ids"]) for piece in pieces]).unsqueeze(1)

        def mask(tokens: torch.Tensor) -> torch.Tensor:
            return (torch.arange(tokens.shape[1]) < lengths).to(tokens.device)

        return self.loaded.vectors(inputs, self.pooling, mask)

    def compiled_parts(self) -> list[torch.nn.Module]:
        """The network, or behind shared features its tower."""
        return [] if self.loaded.called is None else [self.loaded.called]

    def fingerprint(self) -> dict[str, Any]:
        """Digest of the weights, layer, pooling, prefix, length, and digest of the tokenizer."""
        return {
            **self.loaded.described(self.pooling),
            "preprocessing": {
                "tokenizer": type(self.tokenizer).__name__,
                "tokenizer_sha256": tokenizer_digest(self.tokenizer),
                **({"prefix": self.prefix} if self.prefix else {}),
                **(self.chunks.describe() if self.chunks else {"max_length": self.max_length}),
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
