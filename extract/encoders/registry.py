"""The registry: from an encoder's URI to the encoder, and what there is to choose from."""

import fnmatch
import importlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType
from typing import Any

import torch

from extract.encoders.base import MODALITIES, Encoder, Modality, are_modalities
from extract.encoders.custom import construct, import_class, working_folder_importable
from extract.encoders.packaged import PACKAGES
from extract.encoders.uri import EncoderURI, loading, parse_uri
from extract.encoders.video import as_encoder_of, serves
from extract.errors import InputError, nearest

ENTRY_POINT_GROUP = "mmssl.encoders"


@dataclass(frozen=True)
class Scheme:
    """A library: our module for it, what its encoders take (None: ask the module), how to install
    it, and the options of its URIs as a person reads them.
    """

    module: str
    modalities: tuple[Modality, ...] | None
    install: str
    options: str


@dataclass(frozen=True)
class EncoderInfo:
    """A line of the list: a URI that can be typed, and what it stands for."""

    uri: str
    modalities: tuple[Modality, ...]
    about: str


_INSTALLED = "comes with mmssl-toolkit"
SCHEMES: dict[str, Scheme] = {
    "packaged": Scheme(
        "packaged",
        None,
        "pip install 'mmssl-toolkit[packaged]'",
        "window=SECONDS, hop=SECONDS (audio), chunk=TOKENS, overlap=TOKENS (text)",
    ),
    "torchvision": Scheme(
        "torchvision",
        ("image",),
        _INSTALLED,
        "weights=NAME|FILE|random, sha256=HEX (with FILE), transforms=NAME (with FILE or random),"
        " seed=N (with random), layer=NODE[,NODE...], pooling=mean|max|cls (with layer)",
    ),
    "timm": Scheme(
        "timm",
        ("image",),
        "pip install 'mmssl-toolkit[timm]'",
        "weights=FILE|random, sha256=HEX (with FILE), seed=N (with random), layer=K[,K...] (blocks"
        " or stages from 0; -1 is the last) or layer=NAME[,NAME...], pooling=mean|max|cls (with"
        " layer)",
    ),
    "hf": Scheme(
        "transformers",
        None,
        _INSTALLED,
        "layer=K[,K...] (hidden states from 0; -1 is the last), pooling=mean|max|cls|last|pooler,"
        " prefix=TEXT|none, max_length=TOKENS, chunk=TOKENS and overlap=TOKENS (text),"
        " window=SECONDS and hop=SECONDS (audio), weights=random, seed=N, trust_remote_code=true;"
        " @revision",
    ),
    "st": Scheme(
        "sentence_transformers",
        ("text",),
        _INSTALLED,
        "prompt=NAME|TEXT|none, chunk=TOKENS, overlap=TOKENS, backend=onnx|openvino,"
        " file_name=FILE (with backend), trust_remote_code=true; @revision",
    ),
    "torchaudio": Scheme(
        "torchaudio",
        ("audio",),
        _INSTALLED,
        "weights=FILE|random, sha256=HEX (with FILE), seed=N (with random), config=FILE.json,"
        " layer=K[,K...] (from 1; -1 is the last), pooling=mean|max, window=SECONDS, hop=SECONDS",
    ),
    "melstats": Scheme("melstats", ("audio",), _INSTALLED, "none"),
}

_DEFAULTS: dict[Modality, str] = {
    "image": "packaged:efficientnet-lite0",
    "text": "packaged:minilm",
    "audio": "packaged:whisper-tiny-en",
    "video": "packaged:efficientnet-lite0",
}

# Models of the hubs that are good to begin with; any other name works as well.
_HUB_EXAMPLES = (
    EncoderInfo("timm:vit_small_patch14_dinov2.lvd142m", ("image",), "DINOv2 small"),
    EncoderInfo("timm:convnext_tiny.fb_in22k", ("image",), "ConvNeXt tiny, ImageNet-22k"),
    EncoderInfo("hf:openai/clip-vit-base-patch32", ("image", "text"), "CLIP, one space"),
    EncoderInfo("hf:google/siglip-base-patch16-224", ("image", "text"), "SigLIP, one space"),
    EncoderInfo("hf:google/siglip2-base-patch16-224", ("image", "text"), "SigLIP 2, one space"),
    EncoderInfo("hf:facebook/dinov2-small", ("image",), "DINOv2 small"),
    EncoderInfo("hf:google-bert/bert-base-uncased", ("text",), "BERT, mean of its tokens"),
    EncoderInfo("hf:laion/clap-htsat-unfused", ("text", "audio"), "CLAP, one space"),
    EncoderInfo("hf:openai/whisper-base", ("audio",), "Whisper's encoder, many languages"),
    EncoderInfo("hf:facebook/wav2vec2-base", ("audio",), "wav2vec 2.0"),
    EncoderInfo("hf:facebook/hubert-base-ls960", ("audio",), "HuBERT"),
    EncoderInfo("hf:microsoft/wavlm-base-plus", ("audio",), "WavLM"),
    EncoderInfo("hf:MIT/ast-finetuned-audioset-10-10-0.4593", ("audio",), "AST, AudioSet"),
    EncoderInfo("st:sentence-transformers/all-MiniLM-L6-v2", ("text",), "MiniLM, English"),
    EncoderInfo("st:intfloat/multilingual-e5-small", ("text",), "E5, many languages; 'passage: '"),
    EncoderInfo("st:Qwen/Qwen3-Embedding-0.6B", ("text",), "a decoder, many languages"),
)


def default_encoder(modality: Modality) -> str:
    """The URI of the packaged encoder of a modality: it needs no model hub."""
    return _DEFAULTS[modality]


def load_encoder(
    uri: str,
    modality: Modality,
    *,
    device: torch.device,
    dtype: torch.dtype,
    trusted: bool = True,
    frames_at_once: int = 32,
) -> Encoder:
    """Load the encoder that a URI names, on a device.

    Args:
        uri: ``scheme:name[@revision][?key=value&...]``, ``plugin:NAME`` for an entry point of the
            group ``mmssl.encoders``, or ``package.module:Class`` (the working folder is looked in).
        modality: what it is to encode.
        device: where its weights go.
        dtype: floating dtype of its weights and of what it computes.
        trusted: whether a person typed the URI. One that was read from a file (a model folder)
            never makes us import code that the file names: only built-in and entry-point encoders
            load, and no author's code from a hub.
        frames_at_once: the most frames of videos that an encoder of pictures sees at once.

    Returns:
        An encoder whose ``modalities`` hold ``modality``. For videos that is one that takes them,
        or ``MeanOfFrames`` around one that takes pictures.

    Raises:
        InputError: unknown scheme, name or option; a library or package that is not installed; a
            model that cannot be loaded; an encoder that does not take this modality.
    """
    parsed = parse_uri(uri)
    if not trusted and parsed.options.get("trust_remote_code") == "true":
        parsed.refuse("it would run its author's code: name the encoder yourself to allow that")
    encoder = _load(parsed, modality, trusted)
    _check_serves(parsed, encoder.modalities, modality)
    return as_encoder_of(encoder.to(device, dtype), modality, frames_at_once)


def encoder_modalities(uri: str) -> tuple[Modality, ...]:
    """What the encoder that a URI names can encode, as far as possible without loading it.

    Raises:
        InputError: as ``load_encoder``.
    """
    parsed = parse_uri(uri)
    if parsed.scheme == "plugin":
        return _class_modalities(_plugin_class(parsed), parsed)
    if parsed.scheme not in SCHEMES:
        with working_folder_importable():
            return _class_modalities(import_class(parsed, [*SCHEMES, "plugin"]), parsed)
    fixed = SCHEMES[parsed.scheme].modalities
    if fixed is not None:
        return fixed
    asked: Callable[[EncoderURI], tuple[Modality, ...]] = _module(parsed.scheme).modalities
    return asked(parsed)


def list_encoders(modality: Modality | None = None, pattern: str = "*") -> list[EncoderInfo]:
    """Encoders to choose from: packaged, built in, plug-ins, and examples of the hubs.

    Args:
        modality: only those that encode it; videos are encoded by those of pictures, too.
        pattern: only those whose URI holds this text, or matches it where it has ``*`` or ``?``;
            small and capital letters are alike.

    Returns:
        In the order: packaged, plug-ins, melstats, torchvision, torchaudio, hubs.
    """
    glob = pattern if any(mark in pattern for mark in "*?[") else f"*{pattern}*"
    return [
        info
        for info in _all_encoders()
        if (modality is None or serves(info.modalities, modality))
        and fnmatch.fnmatchcase(info.uri.lower(), glob.lower())
    ]


def install_hint(uri: str) -> str:
    """What to install for an encoder."""
    scheme = SCHEMES.get(parse_uri(uri).scheme)
    return scheme.install if scheme else "your own class"


def option_hint(uri: str) -> str:
    """The options that an encoder's URI takes."""
    scheme = SCHEMES.get(parse_uri(uri).scheme)
    return scheme.options if scheme else "what its constructor takes, as text"


def _all_encoders() -> Iterable[EncoderInfo]:
    for name, package in PACKAGES.items():
        yield EncoderInfo(f"packaged:{name}", (package.modality,), package.about)
    for point in _plugins():
        try:
            cls = _plugin_class(EncoderURI("plugin", point.name))
        except InputError as error:  # somebody else's package must not hide all others
            yield EncoderInfo(f"plugin:{point.name}", MODALITIES, str(error))
            continue
        summary = (cls.__doc__ or "").strip().partition("\n")[0]
        # One that sets them when it is constructed might take any.
        declared: Any = getattr(cls, "modalities", None)
        yield EncoderInfo(
            f"plugin:{point.name}",
            tuple(declared) if are_modalities(declared) else MODALITIES,
            summary or point.value,
        )
    yield EncoderInfo("melstats:64", ("audio",), "mean and deviation of 64 log-mel bands")
    for name in _module("torchvision").names():
        yield EncoderInfo(f"torchvision:{name}", ("image",), "downloads ImageNet weights")
    for name in _module("torchaudio").bundles():
        yield EncoderInfo(f"torchaudio:{name}", ("audio",), "downloads speech weights")
    yield from _HUB_EXAMPLES


def _class_modalities(cls: type[Encoder], uri: EncoderURI) -> tuple[Modality, ...]:
    declared: Any = getattr(cls, "modalities", None)
    # A class may also set them in its constructor.
    return tuple(declared if are_modalities(declared) else construct(cls, uri).modalities)


def _load(uri: EncoderURI, modality: Modality, trusted: bool) -> Encoder:
    if uri.scheme == "plugin":
        return construct(_plugin_class(uri), uri)
    if uri.scheme in SCHEMES:
        fixed = SCHEMES[uri.scheme].modalities
        load: Callable[..., Encoder] = _module(uri.scheme).load
        if fixed is None and modality != "video":
            return load(uri, modality)
        # No library's model takes videos: of each its tower of pictures is meant.
        _check_serves(uri, encoder_modalities(str(uri)) if fixed is None else fixed, modality)
        return load(uri, "image") if fixed is None else load(uri)
    if not trusted:
        uri.refuse("a class is imported only when a person names it: name the encoder yourself")
    # Also while it is constructed: its modules may import their neighbours only then.
    with working_folder_importable():
        return construct(import_class(uri, [*SCHEMES, "plugin"]), uri)


def _check_serves(uri: EncoderURI, taken: tuple[Modality, ...], modality: Modality) -> None:
    if not serves(taken, modality):
        frames = ", nor pictures, which a video's frames are" if modality == "video" else ""
        uri.refuse(f"it encodes {' and '.join(taken)}, not {modality}{frames}")


def _module(scheme: str) -> ModuleType:
    # Each library is imported when one of its encoders is wanted, not before.
    return importlib.import_module(f"extract.encoders.{SCHEMES[scheme].module}")


def _plugins() -> list[EntryPoint]:
    return sorted(entry_points(group=ENTRY_POINT_GROUP), key=lambda point: point.name)


def _plugin_class(uri: EncoderURI) -> type[Encoder]:
    plugins = {point.name: point for point in _plugins()}
    if uri.name not in plugins:
        none = " (none is installed)" if not plugins else nearest(uri.name, list(plugins))
        uri.refuse(f"no installed package offers such a plug-in{none}")
    with loading(uri):
        cls = plugins[uri.name].load()
    if not (isinstance(cls, type) and issubclass(cls, Encoder)):
        uri.refuse(f"{plugins[uri.name].value} is not a subclass of extract.Encoder")
    return cls
