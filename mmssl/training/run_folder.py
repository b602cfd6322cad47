"""The folder of one training run: its configuration, its log, and whether it may be written."""

import json
import os
import shutil
from pathlib import Path
from typing import Any, Literal

from extract.errors import InputError
from extract.files import write_text
from mmssl.config import TrainingConfig
from mmssl.training.checkpoint import has_checkpoint

_MARK = "# a training run of mmssl on dataset "

# What a run writes: nothing else is ever deleted by --overwrite.
_CONTENTS = ("config.yaml", "log.jsonl", "metrics.json", "checkpoints", "model")


class RunFolder:
    """Paths of a run and its JSON log."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.yaml"
        self.log_file = path / "log.jsonl"
        self.metrics = path / "metrics.json"
        self.last = path / "checkpoints" / "last"
        self.best = path / "checkpoints" / "best"
        self.model = path / "model"

    def check(
        self, config: TrainingConfig, dataset_digest: str, overwrite: bool
    ) -> Literal["new", "resume", "replace"]:
        """What to do with the folder; nothing is written or deleted here.

        Raises:
            InputError: the folder holds a finished run, a run of another configuration or dataset,
                or something that is no run.
        """
        if self.path.exists() and not self.path.is_dir():
            raise InputError(f"{self.path}: a file stands where the run folder should be")
        if not self.path.is_dir() or not any(self.path.iterdir()):
            return "new"
        before = self._configuration()
        if before is None:
            raise InputError(f"{self.path}: not empty and not a training run; choose another --out")
        if overwrite:
            return "replace"
        text = self._text(config, dataset_digest)
        if before != text:
            raise InputError(
                f"{self.path}: holds a run with other settings"
                f" ({_first_difference(before, text)}); choose another --out, or --overwrite it"
            )
        if self.metrics.is_file():
            raise InputError(
                f"{self.path}: this run is finished; choose another --out, or --overwrite it"
            )
        return "resume" if has_checkpoint(self.last) else "replace"

    def begin(self, config: TrainingConfig, dataset_digest: str) -> None:
        """Write the configuration of a new run; files of a run that stood here are deleted."""
        for name in _CONTENTS:
            _remove(self.path / name)
        write_text(self.config, self._text(config, dataset_digest))

    def _text(self, config: TrainingConfig, dataset_digest: str) -> str:
        # The dataset's digest stands in a comment: the file stays a configuration to copy.
        return f"{_MARK}{dataset_digest}\n{config.to_yaml()}"

    def _configuration(self) -> str | None:
        """The configuration of the run that stands here; None if what stands here is no run."""
        try:
            text = self.config.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            return None
        # Anybody may have a config.yaml; only a run's begins with our mark.
        return text if text.startswith(_MARK) else None

    def log(self, event: str, **values: Any) -> None:
        """Append one JSON line."""
        line = json.dumps({"event": event, **values}, ensure_ascii=False)
        with self.log_file.open("a", encoding="utf-8") as handle:
            handle.write(line + "\n")

    def log_size(self) -> int:
        """Bytes of the log, kept in checkpoints."""
        return self.log_file.stat().st_size if self.log_file.exists() else 0

    def cut_log(self, size: int) -> None:
        """Forget lines written after a checkpoint that training goes on from."""
        if self.log_size() > size:
            os.truncate(self.log_file, size)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _first_difference(before: str, now: str) -> str:
    for old, new in zip(before.splitlines(), now.splitlines(), strict=False):
        if old != new:
            return f"'{old.strip(' #')}' there, '{new.strip(' #')}' now"
    return "a shorter or longer configuration"
