"""Device, precision, processes and trackers of a training, through accelerate."""

import atexit
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.distributed as dist
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import ProjectConfiguration, patch_environment

from extract.device import resolve_device
from extract.errors import InputError
from mmssl import launch


def make_accelerator(
    device: str, precision: str, trackers: Sequence[str] = (), tracked_in: Path | None = None
) -> Accelerator:
    """Device, precision, processes and trackers; started by a launcher, processes meet here.

    Args:
        device: ``auto``, ``cpu``, ``cuda:N`` or ``mps``.
        precision: ``full``, ``bf16`` or ``fp16``.
        trackers: names of ``tracking.TRACKERS`` that are installed; ``tracking`` starts them.
        tracked_in: folder of what those write that write files.

    Raises:
        InputError: no such device here, a precision that it lacks, or too few devices for the
            processes.
    """
    place = resolve_device(device)
    if precision == "fp16" and place.type != "cuda":
        raise InputError(f"precision=fp16 needs a CUDA device; on {place.type} use bf16 or full")
    several = launch.count() > 1
    if several:
        _refuse_shared_devices(device, place)
        # Where it is left to the interpreter's end, one process in ten aborts in there.
        atexit.unregister(_leave)
        atexit.register(_leave)
    # Accelerate keeps device and precision for the whole process; a second run may want others.
    AcceleratorState._reset_state(reset_partial_state=True)
    # Of several processes each gets from accelerate the CPU, or the GPU of its own number.
    chosen = {} if several else {"accelerate_torch_device": str(place)}
    with patch_environment(**chosen):
        return Accelerator(
            mixed_precision="no" if precision == "full" else precision,
            cpu=place.type == "cpu",
            log_with=list(trackers) or None,
            project_config=ProjectConfiguration(logging_dir=tracked_in and str(tracked_in)),
        )


def _leave() -> None:
    """End the connections to the other processes."""
    if dist.is_initialized():
        dist.destroy_process_group()


def _refuse_shared_devices(device: str, place: torch.device) -> None:
    if place.type == "mps":
        raise InputError("several processes cannot share --device mps; start one, or --device cpu")
    if place.type != "cuda":
        return
    if device.startswith("cuda:"):
        raise InputError(
            f"--device {device}: each of several processes takes the GPU of its own number; name"
            " none of them, and choose GPUs by CUDA_VISIBLE_DEVICES"
        )
    if launch.local_count() > torch.cuda.device_count():
        raise InputError(
            f"{launch.local_count()} processes, but {torch.cuda.device_count()} CUDA GPU(s) here:"
            " start as many processes as there are GPUs, or --device cpu"
        )
