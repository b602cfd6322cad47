"""Weights from files, and digests of weights: what makes two encoders the same."""

import hashlib
import re
from collections.abc import Callable, Container, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch

from extract.encoders.uri import EncoderURI, loading
from extract.files import sha256_file

M = TypeVar("M", bound=torch.nn.Module)

WEIGHT_SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")


def weights_file(uri: EncoderURI) -> Path | None:
    """The file that ``weights=`` names; None where it is absent or names no file (``random``, ...).

    Raises:
        InputError: it looks like a file and there is none, or it fails its digest.
    """
    value = uri.options.get("weights")
    if value is None or not value.lower().endswith(WEIGHT_SUFFIXES):
        return None
    path = Path(value)
    if not path.is_file():
        uri.refuse(f"weights={value}: no such file")
    return path


def read_state_dict(path: Path, uri: EncoderURI) -> dict[str, torch.Tensor]:
    """Read a state dict from ``.safetensors``, or from a ``.pth`` file whose digest is known.

    A ``.pth`` file is a pickle: it is read with ``weights_only`` and only if its SHA-256 was
    stated, by the option ``sha256=HEX`` or, as the PyTorch hub does, at the end of its name
    (``resnet18-f37072fd.pth``). A ``sha256`` stated for a ``.safetensors`` file is held too.

    Raises:
        InputError: no digest, another digest, or content that is not a state dict.
    """
    stated = uri.options.get("sha256")
    if stated is None and path.suffix.lower() != ".safetensors":
        in_name = re.search(r"-([0-9a-f]{8,64})$", path.stem)
        if in_name is None:
            uri.refuse(
                f"{path} is a pickle, so it is read only if its digest is known: add &sha256=HEX as"
                " its publisher states it, or use a .safetensors file"
            )
        stated = in_name[1]
    if stated is not None:
        if not re.fullmatch(r"[0-9a-fA-F]{8,64}", stated):
            uri.refuse(f"option sha256={stated} is not 8 to 64 hexadecimal digits")
        actual = sha256_file(path)
        if not actual.startswith(stated.lower()):
            uri.refuse(f"{path} has SHA-256 {actual[:16]}..., not the stated {stated[:16]}")
    with loading(uri):
        if path.suffix.lower() == ".safetensors":
            from safetensors.torch import load_file

            state: Any = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    if isinstance(state, dict):
        for wrapper in ("state_dict", "model"):  # how training scripts wrap them
            if isinstance(state.get(wrapper), dict):
                state = state[wrapper]
    if not isinstance(state, dict) or not all(isinstance(v, torch.Tensor) for v in state.values()):
        uri.refuse(f"{path} holds no state dict (names with tensors)")
    return dict(state)


def load_strictly(
    model: torch.nn.Module, state: Mapping[str, torch.Tensor], path: Path, uri: EncoderURI
) -> None:
    """Load a state dict that must match name by name and shape by shape.

    Raises:
        InputError: names the first tensors that are missing, left over or of another shape.
    """
    wanted = model.state_dict()
    # BatchNorm's counter is not in older files and is never used for inference.
    missing = [k for k in wanted if k not in state and not k.endswith("num_batches_tracked")]
    unexpected = [k for k in state if k not in wanted]
    reshaped = [k for k in wanted if k in state and wanted[k].shape != state[k].shape]
    for problem, names in (
        ("lacks", missing),
        ("holds, beside the model's,", unexpected),
        ("has in another shape", reshaped),
    ):
        if names:
            uri.refuse(f"{path} {problem} {len(names)} tensors, the first '{names[0]}'")
    model.load_state_dict(dict(state), strict=False)


def state_digest(model: torch.nn.Module, ignore: Container[str] = ()) -> str:
    """SHA-256 over a module's tensors: names in order, dtypes, shapes and bytes.

    Args:
        model: the module, as it was loaded (before a change of dtype).
        ignore: names to leave out, such as tensors that no output depends on.

    Returns:
        64 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        if name in ignore or not isinstance(tensor, torch.Tensor):
            continue
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(flat.view(torch.uint8).numpy().data)
    return digest.hexdigest()


def seeded(uri: EncoderURI, build: Callable[[], M]) -> M:
    """Build a module with random weights from ``seed=`` (default 0), leaving torch's RNG as it was.

    Random weights are the control that shows what a trained encoder is worth.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(uri.integer("seed") or 0)
        return build()
