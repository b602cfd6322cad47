"""The folder of one training run: its configuration, its log, and whether it may be written."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from extract.errors import InputError
from extract.files import leftovers, remove_leftovers, write_text
from mmssl.config import TrainingConfig
from mmssl.data.manifest import read_manifest
from mmssl.training.checkpoint import has_checkpoint

_MARK = "# a training run of mmssl on dataset "

# What a run writes: nothing else is ever deleted by --overwrite. The order is that of deletion: a
# run is no longer finished first, and known by its configuration to the end.
_CONTENTS = (
    *("metrics.json", "model", "checkpoints", "trackers", "log.jsonl", "profile.json"),
    "config.yaml",
)

Found = Literal["new", "resume", "replace"]
"""What is to be done with a run folder."""


class RunFolder:
    """Paths of a run and its JSON log."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.yaml"
        self.log_file = path / "log.jsonl"
        self.metrics = path / "metrics.json"
        self.last = path / "checkpoints" / "last"
        self.best = path / "checkpoints" / "best"
        self.profile = path / "profile.json"
        self.trackers = path / "trackers"
        self.model = path / "model"
        self.lock = path / ".lock"

    @contextmanager
    def claim(
        self, config: TrainingConfig, dataset_digest: str, overwrite: bool
    ) -> Iterator[Found]:
        """``check``, with every other training kept out while the context lasts.

        The lock is the system's (flock where there is one), so that a killed training holds none.

        Raises:
            InputError: as ``check``, or another training is at work in the folder.
        """
        self.check(config, dataset_digest, overwrite)
        lock = FileLock(self.lock, blocking=False)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except Timeout:
            raise InputError(
                f"{self.path}: another training is writing this run; wait for its end, or choose"
                " another --out"
            ) from None
        except OSError as error:
            raise InputError(f"{self.path}: cannot be written ({error.strerror})") from None
        try:
            for name in _CONTENTS:
                remove_leftovers(self.path / name)
            # What stands there may have changed before the lock was ours.
            yield self.check(config, dataset_digest, overwrite)
        finally:
            begun = self.config.exists()
            if not begun:
                self.lock.unlink(missing_ok=True)
            lock.release()
            if not begun and not any(self.path.iterdir()):
                self.path.rmdir()

    def check(self, config: TrainingConfig, dataset_digest: str, overwrite: bool) -> Found:
        """What to do with the folder; nothing is written or deleted here.

        Raises:
            InputError: the folder holds a finished run, a run of another configuration or dataset,
                or something that is no run.
        """
        if self.path.exists() and not self.path.is_dir():
            raise InputError(f"{self.path}: a file stands where the run folder should be")
        if not self._holds_anything():
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

    def _holds_anything(self) -> bool:
        """Whether there is more than what a training killed at its very beginning leaves."""
        if not self.path.is_dir():
            return False
        return not {self.lock, *leftovers(self.config)}.issuperset(self.path.iterdir())

    def begin(self, config: TrainingConfig, dataset_digest: str) -> None:
        """Write the configuration of a new run; files of a run that stood here are deleted."""
        for name in _CONTENTS:
            if name != self.config.name:
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
            handle.flush()
            # A checkpoint counts on the lines before it.
            os.fsync(handle.fileno())

    def validation_log(self) -> list[tuple[int, dict[str, float]]]:
        """The epochs that the log tells of, with their validation metrics."""
        lines = self.log_file.read_text(encoding="utf-8").splitlines()
        events = [json.loads(line) for line in lines]
        return [(e["epoch"], e["validation"]) for e in events if e["event"] == "epoch"]

    def log_size(self) -> int:
        """Bytes of the log, kept in checkpoints."""
        return self.log_file.stat().st_size if self.log_file.exists() else 0

    def cut_log(self, size: int) -> None:
        """Forget lines written after a checkpoint that training goes on from."""
        if self.log_size() > size:
            os.truncate(self.log_file, size)


def goes_on(path: Path, config: TrainingConfig, data: Path) -> bool:
    """Whether a folder holds an unfinished run of this configuration and dataset."""
    try:
        return RunFolder(path).check(config, read_manifest(data).digest, False) == "resume"
    except InputError:
        return False


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        # Half a folder must not bear the name; a kill leaves what `remove_leftovers` finds.
        doomed = path.with_name(f".{path.name}.deleted.old")
        path.rename(doomed)
        shutil.rmtree(doomed)
    else:
        path.unlink(missing_ok=True)


def _first_difference(before: str, now: str) -> str:
    for old, new in zip(before.splitlines(), now.splitlines(), strict=False):
        if old != new:
            if old.startswith(_MARK) and new.startswith(_MARK):
                there, now = (line.removeprefix(_MARK)[:12] for line in (old, new))
                return f"dataset {there} there, {now} now"
            return f"'{old.strip(' #')}' there, '{new.strip(' #')}' now"
    return "a shorter or longer configuration"
