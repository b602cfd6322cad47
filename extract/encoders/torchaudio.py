"""torchaudio's self-supervised speech models: wav2vec 2.0, HuBERT, WavLM, mean over frames.

``torchaudio:WAV2VEC2_BASE`` downloads a bundle; ``?weights=FILE`` reads a state dict and downloads
nothing. ``torchaudio:wav2vec2_model?config=FILE.json&weights=FILE`` builds any other size: the JSON
holds that function's arguments, and may hold ``sample_rate`` and ``normalize_waveform``.
``layer=k`` takes the k-th transformer layer, from 1, or from the end: -1 is the last; ``layer=4,8``
takes several in one pass. ``window`` and ``hop`` are in seconds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from extract.encoders.base import Encoder, Modality, Raw, Waveform
from extract.encoders.batching import placed, probe_dim, run_by_shape
from extract.encoders.layers import Layers, layer_numbers, recorded, refuse_repeated
from extract.encoders.uri import EncoderURI, loading
from extract.encoders.weights import (
    load_strictly,
    read_state_dict,
    seeded,
    state_digest,
    weights_file,
)
from extract.encoders.windows import Windows, pool_windows, windows_from
from extract.errors import nearest
from extract.files import read_json
from extract.pooling import pool

_BUILDERS = ("wav2vec2_model", "wavlm_model")


@dataclass(frozen=True)
class _Architecture:
    builder: str
    arguments: dict[str, Any]
    sample_rate: int
    normalise: bool
    bundle: Any = None

    @property
    def shortest(self) -> int:
        """The fewest samples that the convolutions take."""
        field = 1
        for _, kernel, stride in reversed(self.arguments["extractor_conv_layer_config"]):
            field = (field - 1) * stride + kernel
        return field


class SpeechEncoder(Encoder):
    """Windows (default 10 s) without padding, since these models normalise over time; each gives
    the mean (or maximum) of its frames, and windows are averaged by the sound that they hold.
    """

    modalities: ClassVar[tuple[Modality, ...]] = ("audio",)

    def __init__(
        self, model: torch.nn.Module, architecture: _Architecture, windows: Windows, uri: EncoderURI
    ) -> None:
        self.model = model.eval()
        self.windows = windows
        self.normalise = architecture.normalise
        count = architecture.arguments["encoder_num_layers"]
        self.numbers = _layer_numbers(uri, count)
        self.layers = Layers(uri.names("layer"))
        self.pooling = uri.choice("pooling", ("mean", "max")) or "mean"
        digest = state_digest(model)
        place = "".join(f"/{k}={uri.options[k]}" for k in ("layer", "pooling") if k in uri.options)
        self.space = f"torchaudio:{uri.name}#{digest[:12]}{place}"
        self._fingerprint = {
            "library": "torchaudio",
            "name": uri.name,
            "weights": digest,
            "layer": recorded(layer_numbers(uri)),
            "pooling": self.pooling,
            "windows": windows.describe(),
            "preprocessing": {"normalise": self.normalise},
        }
        rate = windows.sample_rate
        self.dim = probe_dim(self, Waveform(np.zeros(rate, dtype=np.float32), rate))

    def preprocess(self, raw: Raw) -> list[torch.Tensor]:
        """Resample and cut into windows; large models want zero mean and unit variance.

        Raises:
            ValueError: there are no samples, or an implausible sampling rate.
        """
        pieces = self.windows.cut(raw)
        if self.normalise:
            # Each window by itself: torchaudio's own wrapper normalises over a whole batch.
            pieces = [torch.nn.functional.layer_norm(piece, piece.shape) for piece in pieces]
        return pieces

    def length(self, prepared: list[torch.Tensor]) -> int:
        """Samples in all windows."""
        return sum(len(piece) for piece in prepared)

    def encode(self, batch: Sequence[list[torch.Tensor]]) -> torch.Tensor:
        """Encode sounds: (n, dim) float32; a forward pass holds at most n windows."""
        pieces = [{"waveforms": piece} for sound in batch for piece in sound]
        vectors = run_by_shape(pieces, self._forward, len(batch))
        weights = [len(piece["waveforms"]) for piece in pieces]
        return pool_windows(vectors, [len(sound) for sound in batch], weights, self.pooling)

    def _forward(self, stacked: dict[str, torch.Tensor]) -> torch.Tensor:
        waveforms = placed(stacked, self.model)["waveforms"]
        if not self.numbers:
            hidden = [self.model(waveforms)[0]]
        else:
            deepest = max(self.numbers)
            features = self.model.extract_features(waveforms, num_layers=deepest)[0]  # type: ignore[operator]
            hidden = [features[number - 1] for number in self.numbers]
        mask = torch.ones(hidden[0].shape[:2], dtype=torch.bool, device=waveforms.device)
        return self.layers.join([pool(h, mask, self.pooling) for h in hidden])  # type: ignore[arg-type]

    def compiled_parts(self) -> list[torch.nn.Module]:
        """The network; where inner layers are asked for, its convolutions and those layers."""
        model: Any = self.model
        if not self.numbers:
            return [model]
        return [model.feature_extractor, *model.encoder.transformer.layers]

    def fingerprint(self) -> dict[str, Any]:
        """Digest of the weights, layer or layers, pooling, windows and normalisation."""
        return {**self._fingerprint, **self.layers.describe()}


def _layer_numbers(uri: EncoderURI, count: int) -> tuple[int, ...]:
    """The layers that ``layer=`` names, counted from 1."""
    numbers = layer_numbers(uri)
    for number in numbers:
        if not (1 <= number <= count or -count <= number <= -1):
            uri.refuse(f"option layer={number}: the model has layers 1 to {count}")
    from_one = [number if number > 0 else count + 1 + number for number in numbers]
    refuse_repeated(uri, numbers, [number - 1 for number in from_one])
    return tuple(from_one)


def bundles() -> dict[str, Any]:
    """torchaudio's pretrained bundles whose features are embeddings, by name."""
    from torchaudio import pipelines

    return {
        name: value
        for name in dir(pipelines)
        if isinstance(value := getattr(pipelines, name), pipelines.Wav2Vec2Bundle)
    }


def load(uri: EncoderURI) -> SpeechEncoder:
    """Build the model that a ``torchaudio:`` URI names.

    Raises:
        InputError: unknown name, option or layer; a file that does not fit; no network.
    """
    uri.expect("weights", "sha256", "config", "layer", "pooling", "window", "hop", "seed")
    architecture = _architecture(uri)
    windows = windows_from(
        uri, architecture.sample_rate, 10.0, shortest=max(400, architecture.shortest)
    )
    file = weights_file(uri)
    asked = uri.options.get("weights")
    if file is None and asked not in (None, "random"):
        uri.refuse(f"option weights={asked} is unknown (valid: random, FILE.safetensors, FILE.pth)")
    if file is None and asked is None:
        if architecture.bundle is None:
            uri.refuse("add &weights=FILE (or weights=random): only bundles can be downloaded")
        with loading(uri):
            model = architecture.bundle.get_model()
        model = getattr(model, "model", model)  # the inner one: we normalise window by window
        model.aux = None
        return SpeechEncoder(model, architecture, windows, uri)
    from torchaudio import models

    with loading(uri):
        build = getattr(models, architecture.builder)
        model = seeded(uri, lambda: build(**{**architecture.arguments, "aux_num_out": None}))
    if file is not None:
        state = read_state_dict(file, uri)
        # The layer to letters of models that were fine-tuned for speech recognition.
        state = {name: value for name, value in state.items() if not name.startswith("aux.")}
        load_strictly(model, state, file, uri)
    return SpeechEncoder(model, architecture, windows, uri)


def _architecture(uri: EncoderURI) -> _Architecture:
    known = bundles()
    if uri.name in known:
        if "config" in uri.options:
            uri.refuse(f"option config= belongs to {' and '.join(_BUILDERS)}, not to a bundle")
        bundle = known[uri.name]
        # The library keeps a bundle's architecture private and offers no other way to it.
        return _Architecture(
            builder={"Wav2Vec2": "wav2vec2_model", "WavLM": "wavlm_model"}[bundle._model_type],
            arguments=bundle._params,
            sample_rate=int(bundle.sample_rate),
            normalise=bundle._normalize_waveform,
            bundle=bundle,
        )
    if uri.name not in _BUILDERS:
        hint = nearest(uri.name, [*known, *_BUILDERS], "encoders list torchaudio")
        uri.refuse(f"torchaudio has no such bundle{hint}")
    if "config" not in uri.options:
        uri.refuse(f"add config=FILE.json with the arguments of torchaudio.models.{uri.name}")
    path = Path(uri.options["config"])
    config = read_json(path)
    needed = {"extractor_conv_layer_config", "encoder_num_layers"}
    if not isinstance(config, dict) or not needed <= set(config):
        uri.refuse(f"{path} must hold the arguments of torchaudio.models.{uri.name} as an object")
    return _Architecture(
        builder=uri.name,
        sample_rate=int(config.pop("sample_rate", 16_000)),
        normalise=bool(config.pop("normalize_waveform", False)),
        arguments=config,
    )
