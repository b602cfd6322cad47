"""The model's encoders, for what people send: loaded when first wanted, one at a time."""

import importlib.util
import threading
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from extract.device import resolve_device
from extract.encoders.base import Encoder, Modality, Raw
from extract.encoders.check import contract_problem
from extract.encoders.packaged import PACKAGES
from extract.encoders.registry import SCHEMES, load_encoder
from extract.encoders.uri import parse_uri
from extract.errors import InputError
from extract.media.files import MediaError
from mmssl.recommend.model_encoders import obstacle

_LIBRARIES = {"timm": "timm"}


class Encoders:
    """Encodes one thing at a time; may be called by several threads."""

    def __init__(self, named: Mapping[str, str], device: str) -> None:
        """Take the encoders that a person named, by modality; they stand before the model's.

        Of these a class of the person's own is loaded. Of a model folder never: only built-in and
        installed ones.
        """
        self._named = dict(named)
        self._device = device
        self._lock = threading.Lock()
        self._loaded: dict[tuple[str, Modality], Encoder] = {}
        self._failed: set[tuple[str | None, Modality]] = set()

    def uri(self, modality: str, recorded: str | None) -> str | None:
        """The encoder of a modality: the one that a person named, else the model's own."""
        return self._named.get(modality, recorded)

    def problem(self, modality: Modality, recorded: str | None) -> str | None:
        """Why a modality's encoder cannot be had here, as far as that shows without loading it.

        Args:
            modality: what it is to encode.
            recorded: the model's encoder of it; None where its features were made elsewhere.
        """
        uri = self.uri(modality, recorded)
        if uri is None:
            return f"the model's features of {modality} were made elsewhere: no encoder is known"
        try:
            why = obstacle(recorded)
        except InputError as error:
            return str(error)
        # What a person names encodes raw media: it does not do what was done to them afterwards.
        if why == "transformed":
            return (
                f"the model's features of {modality} were transformed after encoding ({recorded})"
            )
        if modality in self._named:
            return None
        if why == "own code":
            return f"encoder {uri}: the model names it, but only a person may: --encoder"
        parsed = parse_uri(uri)
        wanted = _LIBRARIES.get(parsed.scheme)
        if parsed.scheme == "packaged":
            wanted = PACKAGES[parsed.name].module if parsed.name in PACKAGES else None
            if wanted is None:
                return f"encoder {uri}: there is no such packaged encoder"
        if wanted is not None and importlib.util.find_spec(wanted) is None:
            return f"encoder {uri}: {SCHEMES[parsed.scheme].install}"
        return None

    def searchable(self, modality: Modality, recorded: str | None) -> bool:
        """Whether the encoder can be had here, as far as is known by now."""
        failed = (self.uri(modality, recorded), modality) in self._failed
        return not failed and self.problem(modality, recorded) is None

    def require(self, modality: Modality, recorded: str | None) -> str:
        """The URI of a modality's encoder.

        Raises:
            InputError: it cannot be had here.
        """
        uri, problem = self.uri(modality, recorded), self.problem(modality, recorded)
        if problem or uri is None:
            raise InputError(f"{modality} cannot be searched here: {problem}")
        return uri

    def encode(
        self, modality: Modality, recorded: str | None, raw: Raw, kind: Modality | None = None
    ) -> NDArray[np.float32]:
        """The embedding of one decoded medium.

        Args:
            modality: in whose space.
            recorded: as of ``problem``.
            raw: the medium.
            kind: what it is, where that is not ``modality``: words for an encoder of pictures.

        Returns:
            (dim,) float32, finite.

        Raises:
            InputError: the encoder cannot be had, or does not take such a thing.
            MediaError: it cannot encode this one.
        """
        kind = kind or modality
        with self._lock:
            encoder = self._ready(modality, recorded, kind)
            try:
                with torch.inference_mode():
                    encoded = encoder.encode([encoder.preprocess(raw)])
                    vector = encoded[0].to("cpu", torch.float32).numpy()
            # An encoder may be anybody's; whatever it raises is about what it was given.
            except Exception as error:
                said = " ".join(str(error).split()) or type(error).__name__
                raise MediaError(f"{kind}: the encoder cannot take it ({said})") from error
        if vector.shape != (encoder.dim,) or not np.isfinite(vector).all():
            raise MediaError(f"{kind}: the encoder gives no finite vector for it")
        return np.asarray(vector)

    def _ready(self, modality: Modality, recorded: str | None, kind: Modality) -> Encoder:
        uri = self.require(modality, recorded)
        if (uri, kind) not in self._loaded:
            try:
                self._loaded[uri, kind] = self._load(uri, kind, trusted=modality in self._named)
            except InputError as error:
                # Noted, but tried again when asked for again: a hub may be back by then.
                self._failed.add((uri, kind))
                raise InputError(f"{modality} cannot be searched here: {error}") from None
            self._failed.discard((uri, kind))
        return self._loaded[uri, kind]

    def _load(self, uri: str, kind: Modality, *, trusted: bool) -> Encoder:
        place = resolve_device(self._device)
        try:
            encoder = load_encoder(uri, kind, device=place, dtype=torch.float32, trusted=trusted)
        except InputError:
            raise
        except Exception as error:  # somebody's code: whatever it raises is the finding
            said = " ".join(str(error).split())
            raise InputError(f"encoder {uri}: {type(error).__name__}: {said}") from error
        if problem := contract_problem(encoder, kind):
            raise InputError(f"encoder {uri}: {problem}")
        return encoder
