"""Weights from files, and digests of weights: what makes two encoders the same."""

import hashlib
import re
import warnings
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
        InputError: it looks like a file and there is none, or another option would do nothing.
    """
    refuse_idle_options(uri)
    value = uri.options.get("weights")
    if value is None or not value.lower().endswith(WEIGHT_SUFFIXES):
        return None
    path = Path(value)
    try:
        found = path.is_file()
    except OSError as error:  # a name longer than names may be
        uri.refuse(f"weights={value[:60]}...: {error.strerror}")
    if not found:
        uri.refuse(f"weights={value}: no such file")
    return path


def refuse_idle_options(uri: EncoderURI) -> None:
    """Refuse options that would change nothing beside these ``weights=``.

    Raises:
        InputError: a seed without random weights, a digest without a file.
    """
    value = uri.options.get("weights", "")
    if "seed" in uri.options and value != "random":
        uri.refuse("option seed= needs weights=random: trained weights have no seed")
    if "sha256" in uri.options and not value.lower().endswith(WEIGHT_SUFFIXES):
        uri.refuse("option sha256= needs weights=FILE: it is that file's digest")


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
    state: Any
    if path.suffix.lower() == ".safetensors":
        from safetensors.torch import load_file

        with loading(uri):
            state = load_file(path)
    else:
        state = _read_pickle(path, uri)
    if isinstance(state, dict):
        for wrapper in ("state_dict", "model"):  # how training scripts wrap them
            if isinstance(state.get(wrapper), dict):
                state = state[wrapper]
    if not isinstance(state, dict) or not all(isinstance(v, torch.Tensor) for v in state.values()):
        uri.refuse(f"{path} holds no state dict (names with tensors)")
    return dict(state)


def _read_pickle(path: Path, uri: EncoderURI) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the protocol: what matters of it is an error
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch's text advises to switch the protection off
        uri.refuse(
            f"{path} cannot be loaded: it is damaged, of an unusual protocol, or holds more than"
            f" tensors, which might run code ({type(error).__name__}); use a .safetensors file"
        )


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
