import pytest
import torch

from extract.device import resolve_device
from extract.errors import InputError


@pytest.fixture
def machine(monkeypatch):
    """A machine with so many CUDA GPUs, with or without an Apple one."""

    def make(cuda, mps):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)

    return make


@pytest.mark.parametrize(
    ("cuda", "mps", "name", "device"),
    [
        (0, False, "auto", "cpu"),
        (0, True, "auto", "mps"),
        (2, True, "auto", "cuda:0"),
        (2, False, "cpu", "cpu"),
        (2, False, "cuda", "cuda:0"),
        (2, False, "cuda:1", "cuda:1"),
        (0, True, "mps", "mps"),
    ],
)
def test_takes_what_the_machine_offers(machine, cuda, mps, name, device):
    machine(cuda, mps)
    assert resolve_device(name) == torch.device(device)


@pytest.mark.parametrize(
    ("cuda", "name", "words"),
    [
        (0, "cuda", "no CUDA GPU here; use cpu or auto"),
        (0, "cuda:0", "no CUDA GPU here"),
        (2, "cuda:2", "this machine has 2 CUDA GPU(s), 0 to 1"),
        (0, "mps", "no Apple GPU here"),
        (0, "gpu", "unknown device; use auto, cpu, cuda, cuda:N or mps"),
        (0, "cuda:x", "unknown device"),
        (0, "", "unknown device"),
    ],
)
def test_says_in_one_line_what_is_wrong(machine, cuda, name, words):
    machine(cuda, False)
    with pytest.raises(InputError) as raised:
        resolve_device(name)
    assert words in str(raised.value)
    assert f"--device {name}" in str(raised.value)
