"""sentence-transformers models as text encoders (scheme ``st``): a name of the hub or a folder.

Pooling, normalisation and length are the model's own: they are stored with it. ``prompt=`` names
one of the model's prompts or is a text of one's own; ``chunk=`` reads long texts to their end;
``backend=onnx|openvino`` runs an exported transformer in the PyTorch one's place.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any, ClassVar, Self

import torch

from extract.encoders.base import Encoder, Modality, Raw
from extract.encoders.batching import probe_dim
from extract.encoders.chunks import Chunks, Tokens, chunks_from, encode_chunks
from extract.encoders.exported import BACKENDS, ExportedModel, exported_file, file_digest
from extract.encoders.hub import hub_access
from extract.encoders.prefix import NONE, usual_prefix
from extract.encoders.tokenizer import require_words, tokenizer_digest
from extract.encoders.transformers_model import quiet_transformers
from extract.encoders.uri import EncoderURI, loading
from extract.encoders.weights import seeded, state_digest
from extract.errors import nearest

# The names that sentence-transformers looks for when it encodes documents, which items are.
_DOCUMENT_PROMPTS = ("document", "passage", "corpus")


class SentenceEncoder(Encoder):
    """A SentenceTransformer; tokenising is part of its ``encode``, unless texts are in chunks."""

    modalities: ClassVar[tuple[Modality, ...]] = ("text",)

    def __init__(self, model: Any, uri: EncoderURI) -> None:
        """Take a loaded SentenceTransformer and the URI that names it and its options.

        Raises:
            InputError: no such prompt, or a chunk that the model does not take.
        """
        self.model = model.eval()
        self.uri = uri
        self.prompt = _prompt(model, uri)
        self.chunks = _chunks(model, uri, self.prompt)
        self._normalised = any(type(module).__name__ == "Normalize" for module in model)
        digest = state_digest(model)
        exported = self._exported
        if exported is not None:
            digest = hashlib.sha256(f"{digest} {file_digest(exported.file)}".encode()).hexdigest()
        settings = _settings(model, self.prompt)
        settings_digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
        self.space = f"{uri.scheme}:{uri.label}#{digest[:12]}/{settings_digest[:8]}"
        if self.chunks is not None:
            settings["preprocessing"] |= self.chunks.describe()
        self._fingerprint = {
            "library": "sentence-transformers",
            "name": uri.label,
            "weights": digest,
            **({"backend": exported.backend} if exported is not None else {}),
            **settings,
        }
        self.dim = probe_dim(self, "a picture of a cat")

    @property
    def _exported(self) -> ExportedModel | None:
        inner = getattr(self.model[0], "model", None)
        return inner if isinstance(inner, ExportedModel) else None

    def to(self, device: torch.device, dtype: torch.dtype) -> Self:
        """Move the modules; an exported transformer runs there, in the precision of its file.

        Raises:
            InputError: an exported transformer does not run so.
        """
        if self._exported is not None:
            self._exported.place(device, dtype)
        return super().to(device, dtype)

    def compiled_parts(self) -> list[torch.nn.Module]:
        """All modules, as the library's own ``compile`` does: it calls no transformer by itself.

        Raises:
            InputError: an exported transformer, which is compiled already.
        """
        if self._exported is not None:
            self.uri.refuse(f"--compile: backend={self._exported.backend} runs compiled code as is")
        return [self.model]

    def preprocess(self, raw: Raw) -> str | list[Tokens]:
        """The text itself, or its chunks.

        Raises:
            ValueError: there is nothing but white space.
        """
        assert isinstance(raw, str)
        if not raw.strip():
            raise ValueError("the text is empty")
        return raw if self.chunks is None else self.chunks.cut(raw)

    def length(self, prepared: str | list[Tokens]) -> int:
        """The number of characters, or of tokens in all chunks."""
        if isinstance(prepared, str):
            return len(prepared)
        return sum(len(piece["input_ids"]) for piece in prepared)

    def encode(self, batch: Sequence[Any]) -> torch.Tensor:
        """Encode texts: (n, dim); a forward pass holds at most n texts or chunks."""
        if self.chunks is None:
            vectors: torch.Tensor = self.model.encode(
                list(batch),
                prompt=self.prompt,
                batch_size=len(batch),
                convert_to_tensor=True,
                show_progress_bar=False,
            )
            return vectors
        vectors = encode_chunks(batch, self.chunks, self._forward)
        if self._normalised:
            # A mean of unit vectors is shorter; what is one chunk keeps its vector bit by bit.
            many = torch.tensor([len(text) > 1 for text in batch], device=vectors.device)
            unit = torch.nn.functional.normalize(vectors, dim=1)
            vectors = torch.where(many.unsqueeze(1), unit, vectors)
        return vectors

    def _forward(self, pieces: list[Tokens]) -> torch.Tensor:
        padded = self.model.tokenizer.pad(
            {name: [piece[name] for piece in pieces] for name in pieces[0]}, return_tensors="pt"
        )
        features = {name: value.to(self.model.device) for name, value in padded.items()}
        encoded: torch.Tensor = self.model({**features, "modality": "text"})["sentence_embedding"]
        return encoded[:, : self.model.truncate_dim]

    def fingerprint(self) -> dict[str, Any]:
        """Digest of the weights, every module's configuration, tokenizer, prompt and length."""
        return self._fingerprint


def _prompt(model: Any, uri: EncoderURI) -> str:
    """What stands before every text.

    ``prompt=`` names a prompt of the model, or is a text; a bare word is a name. Without it: the
    model's default prompt, else its prompt for documents, else what its name asks for (E5).
    """
    own = {name: text for name, text in model.prompts.items() if text}
    asked = uri.options.get("prompt")
    if asked is None:
        if model.default_prompt_name is not None:
            return str(model.prompts[model.default_prompt_name])
        return next((own[name] for name in _DOCUMENT_PROMPTS if name in own), usual_prefix(uri))
    if asked.strip() == NONE:
        return ""
    if asked in own:
        return str(own[asked])
    if re.fullmatch(r"[\w.-]+", asked):
        hint = nearest(asked, list(own)) if own else " (it has none)"
        uri.refuse(
            f"option prompt={asked}: the model has no such prompt{hint}; a text of your own ends"
            " with a colon or a space"
        )
    return asked


def _chunks(model: Any, uri: EncoderURI, prompt: str) -> Chunks | None:
    if "chunk" in uri.options:
        from transformers import PreTrainedTokenizerBase

        plain = getattr(model[0], "modality_config", {}).get("text", {}).get("method") == "forward"
        if (
            not plain
            or "message" in model[0].modality_config
            or not isinstance(model.tokenizer, PreTrainedTokenizerBase)
        ):
            uri.refuse("option chunk=: the model reads texts otherwise than as tokens of its own")
        if prompt and any(not getattr(module, "include_prompt", True) for module in model):
            uri.refuse(
                "option chunk=: the model leaves its prompt out of the mean; add prompt=none"
            )
    return chunks_from(uri, model.tokenizer, model.max_seq_length or 10**6, prompt)


def _settings(model: Any, prompt: str) -> dict[str, Any]:
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
            "prompt": prompt,
        },
        "truncate_dim": model.truncate_dim,
    }
    # A module's configuration is its author's: what JSON does not know is taken by its name.
    plain: dict[str, Any] = json.loads(json.dumps(settings, default=str))
    return plain


def load(uri: EncoderURI) -> SentenceEncoder:
    """Load the model that an ``st:`` URI names.

    Raises:
        InputError: no such folder or model, a wrong option, a model that does not encode texts, an
            exported file that is not there or whose library is not installed.
    """
    uri.expect(
        *("prompt", "chunk", "overlap", "backend", "file_name", "trust_remote_code"),
        revision=True,
    )
    backend = uri.choice("backend", BACKENDS)
    if backend is None and "file_name" in uri.options:
        uri.refuse("option file_name= needs backend=: it names an exported file")
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
        if backend is not None:
            _replace_transformer(model, uri, backend)
    require_words(model.tokenizer, uri)
    return SentenceEncoder(model, uri)


def _replace_transformer(model: Any, uri: EncoderURI, backend: str) -> None:
    """Let an exported graph run in the place of the PyTorch transformer."""
    module: Any = model[0]
    if not hasattr(module, "modality_config"):
        uri.refuse(f"option backend={backend}: the model begins with no transformer")
    file = exported_file(uri, backend)
    module.model = ExportedModel(uri, backend, file, module.model.config)
