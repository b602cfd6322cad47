"""The device a person named, checked before any heavy work."""

import re

import torch

from extract.errors import InputError


def resolve_device(name: str) -> torch.device:
    """The torch device for ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.

    ``auto`` takes the first of cuda, mps and cpu that this machine offers; ``cuda`` is ``cuda:0``.

    Raises:
        InputError: another name, or a device that this machine does not have.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda:0")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    if name == "cpu":
        return torch.device("cpu")
    if name == "mps":
        if not torch.backends.mps.is_available():
            raise InputError("--device mps: no Apple GPU here; use cpu or auto")
        return torch.device("mps")
    cuda = re.fullmatch(r"cuda(?::(\d+))?", name)
    if cuda is None:
        raise InputError(f"--device {name}: unknown device; use auto, cpu, cuda, cuda:N or mps")
    if not torch.cuda.is_available():
        raise InputError(f"--device {name}: no CUDA GPU here; use cpu or auto")
    index, count = int(cuda[1] or 0), torch.cuda.device_count()
    if index >= count:
        raise InputError(f"--device {name}: this machine has {count} CUDA GPU(s), 0 to {count - 1}")
    return torch.device("cuda", index)
