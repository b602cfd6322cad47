"""sentence-transformers models as text encoders (scheme ``st``): a name of the hub or a folder.

Pooling, normalisation and length are the model's own: they are stored with it.
"""

import hashlib
import json
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any, ClassVar

import torch

from extract.encoders.base import Encoder, Modality, Raw
from extract.encoders.batching import probe_dim
from extract.encoders.hub import hub_access
from extract.encoders.tokenizer import require_words, tokenizer_digest
from extract.encoders.transformers_model import quiet_transformers
from extract.encoders.uri import EncoderURI, loading
from extract.encoders.weights import seeded, state_digest


class SentenceEncoder(Encoder):
    """A SentenceTransformer; tokenising is part of its ``encode``."""

    modalities: ClassVar[tuple[Modality, ...]] = ("text",)

    def __init__(self, model: Any, scheme: str, name: str) -> None:
        """Take a loaded SentenceTransformer and what to call it."""
        self.model = model.eval()
        digest = state_digest(model)
        settings = _settings(model)
        settings_digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
        self.space = f"{scheme}:{name}#{digest[:12]}/{settings_digest[:8]}"
        self._fingerprint = {
            "library": "sentence-transformers",
            "name": name,
            "weights": digest,
            **settings,
        }
        self.dim = probe_dim(self, "a picture of a cat")

    def preprocess(self, raw: Raw) -> str:
        """The text itself.

        Raises:
            ValueError: there is nothing but white space.
        """
        assert isinstance(raw, str)
        if not raw.strip():
            raise ValueError("the text is empty")
        return raw

    def length(self, prepared: str) -> int:
        """The number of characters."""
        return len(prepared)

    def encode(self, batch: Sequence[str]) -> torch.Tensor:
        """Encode texts: (n, dim)."""
        vectors: torch.Tensor = self.model.encode(
            list(batch), batch_size=len(batch), convert_to_tensor=True, show_progress_bar=False
        )
        return vectors

    def fingerprint(self) -> dict[str, Any]:
        """Digest of the weights, every module's configuration, tokenizer, prompt and length."""
        return self._fingerprint


def _settings(model: Any) -> dict[str, Any]:
    """What the vectors depend on beside the weights, as JSON."""
    modules = [
        {"type": type(module).__name__, **getattr(module, "get_config_dict", dict)()}
        for module in model
    ]
    settings = {
        "modules": modules,
        "preprocessing": {
            "tokenizer_sha256": tokenizer_digest(model.tokenizer),
            "max_length": model.max_seq_length,
            "prompt": model.prompts.get(model.default_prompt_name or "", ""),
        },
        "truncate_dim": model.truncate_dim,
    }
    # A module's configuration is its author's: what JSON does not know is taken by its name.
    plain: dict[str, Any] = json.loads(json.dumps(settings, default=str))
    return plain


def load(uri: EncoderURI) -> SentenceEncoder:
    """Load the model that an ``st:`` URI names.

    Raises:
        InputError: no such folder or model, a wrong option, a model that does not encode texts.
    """
    uri.expect("trust_remote_code", revision=True)
    from sentence_transformers import SentenceTransformer

    remote_code = uri.choice("trust_remote_code", ("true", "false")) == "true"
    access = nullcontext() if uri.folder else hub_access(uri)
    with access, loading(uri), quiet_transformers():
        # Many checkpoints lack BERT's pooler, which nothing here reads: it is filled at random, and
        # with a fixed seed the digest of the weights stays the same.
        model = seeded(
            uri,
            lambda: SentenceTransformer(
                uri.source,
                revision=uri.revision,
                device="cpu",
                local_files_only=uri.folder is not None,
                trust_remote_code=remote_code,
                model_kwargs={"use_safetensors": True},
            ),
        )
    require_words(model.tokenizer, uri)
    return SentenceEncoder(model, "st", uri.label)
