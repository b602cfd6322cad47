"""Experiment trackers, through accelerate: losses, validation metrics, learning rate by epoch."""

import os
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from accelerate.tracking import get_available_trackers
from accelerate.utils import patch_environment

from extract.errors import InputError, missing_extra, nearest
from extract.files import read_json, write_json
from mmssl.config import TrainingConfig

TRACKERS = ("tensorboard", "mlflow", "wandb", "trackio")
"""What may be asked for. TensorBoard writes into the run folder, and so do MLflow and Trackio
unless their environment variables name another place; Weights & Biases sends what it is given to
its server, unless WANDB_MODE=offline."""

_PROJECT = "mmssl"


def check_trackers(names: Sequence[str]) -> None:
    """Refuse trackers that can't be used.

    Raises:
        InputError: one that is unknown, named twice, or not installed.
    """
    installed = {str(tracker) for tracker in get_available_trackers()}
    for name in names:
        if name not in TRACKERS:
            raise InputError(f"tracker '{name}': there is none{nearest(name, TRACKERS)}")
        if list(names).count(name) > 1:
            raise InputError(f"tracker '{name}' is named twice")
        if name not in installed:
            if name == "tensorboard":
                raise missing_extra("trackers", "tracker 'tensorboard'")
            raise InputError(f"tracker '{name}' is not installed: run  pip install {name}")


@contextmanager
def tracking(
    accelerator: Accelerator, folder: Path, run: str, config: TrainingConfig, epoch: int
) -> Iterator[None]:
    """Have the accelerator's trackers follow one run; ``accelerator.log`` reaches them inside.

    Args:
        accelerator: made with the trackers' names; without any, nothing is done.
        folder: of what the trackers write, and of what they called this run.
        run: the run's name.
        config: shown beside the figures.
        epoch: epochs that have ended; a run that goes on keeps its place and its steps.

    Raises:
        InputError: a tracker did not start, as when its server asks for a key.
    """
    if not accelerator.log_with:
        yield
        return
    folder = folder.resolve()
    folder.mkdir(exist_ok=True)
    file = folder / "runs.json"
    goes_on = file.is_file()
    names = read_json(file) if goes_on else {"id": uuid.uuid4().hex}
    if not isinstance(names, dict) or not isinstance(names.get("id"), str):
        raise InputError(f"{file}: does not name the run that trackers follow; remove it")
    if not goes_on:
        write_json(file, names)
    places = {
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}",
        "TRACKIO_DIR": str(folder / "trackio"),
    }
    with patch_environment(**{k: v for k, v in places.items() if k not in os.environ}):
        try:
            accelerator.init_trackers(
                _PROJECT,
                None if goes_on else _flat(config.model_dump(mode="json")),
                init_kwargs=_init_kwargs(folder, run, names, epoch),
            )
        except Exception as error:
            wanted = ", ".join(str(name) for name in accelerator.log_with)
            reason = " ".join(str(error).split())
            raise InputError(f"the trackers ({wanted}) did not start: {reason}") from error
        try:
            _remember(accelerator, file, names)
            yield
        finally:
            accelerator.end_training()


def _init_kwargs(
    folder: Path, run: str, names: Mapping[str, str], epoch: int
) -> dict[str, dict[str, Any]]:
    """What makes each tracker take up the same run again."""
    own = f"{run}-{names['id'][:8]}"
    return {
        # An epoch that a kill cut off is done again: what was written of it is hidden.
        "tensorboard": {"purge_step": epoch + 1},
        "mlflow": {
            "run_name": own,
            "run_id": names.get("mlflow"),
            "logging_dir": (folder / "mlflow").as_uri(),
        },
        "wandb": {"id": names["id"], "name": run, "resume": "allow", "dir": str(folder)},
        "trackio": {"name": own, "resume": "allow"},
    }


def _remember(accelerator: Accelerator, file: Path, names: Mapping[str, str]) -> None:
    """MLflow gives its runs their ids itself."""
    for tracker in accelerator.trackers:
        if tracker.name == "mlflow" and "mlflow" not in names:
            write_json(file, {**names, "mlflow": tracker.tracker.info.run_id})


def epoch_values(
    losses: Mapping[str, float], validation: Mapping[str, float], learning_rate: float
) -> dict[str, float]:
    """An epoch's figures under names that every tracker takes: ``@`` is not among their letters."""
    return {
        **{f"loss/{name}": value for name, value in losses.items()},
        **{f"validation/{name.replace('@', '_at_')}": v for name, v in validation.items()},
        "learning_rate": learning_rate,
    }


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, bool | int | float | str]:
    """Settings as ``key.sub``; what is no plain value as its text."""
    flat: dict[str, bool | int | float | str] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            plain = isinstance(value, bool | int | float | str)
            flat[prefix + name] = value if plain else str(value)
    return flat
