"""sentence-transformers models as text encoders (scheme ``st``): a name of the hub or a folder.

Pooling, normalisation and length are the model's own: they are stored with it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch

from extract.encoders.base import Encoder, Modality, Raw
from extract.encoders.batching import probe_dim
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
        self.space = f"{scheme}:{name}#{digest[:12]}"
        self._fingerprint = {
            "library": "sentence-transformers",
            "name": name,
            "weights": digest,
            "modules": [type(module).__name__ for module in model],
            "preprocessing": {"max_length": model.max_seq_length},
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
        """Digest of the weights, the chain of modules, and the length at which texts are cut."""
        return self._fingerprint


def load(uri: EncoderURI) -> SentenceEncoder:
    """Load the model that an ``st:`` URI names.

    Raises:
        InputError: no such folder or model, a wrong option, a model that does not encode texts.
    """
    uri.expect("trust_remote_code", revision=True)
    from sentence_transformers import SentenceTransformer

    if uri.name.startswith((".", "/", "~")) and not Path(uri.name).is_dir():
        uri.refuse("no such folder")
    remote_code = uri.choice("trust_remote_code", ("true", "false")) == "true"
    with loading(uri), quiet_transformers():
        # Many checkpoints lack BERT's pooler, which nothing here reads: it is filled at random, and
        # with a fixed seed the digest of the weights stays the same.
        model = seeded(
            uri,
            lambda: SentenceTransformer(
                uri.name,
                revision=uri.revision,
                device="cpu",
                trust_remote_code=remote_code,
                model_kwargs={"use_safetensors": True},
            ),
        )
    return SentenceEncoder(model, "st", uri.label)
