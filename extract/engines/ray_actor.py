"""What runs in a Ray actor: an encoder that makes whole parts and writes them itself.

An actor answers with values, never with an exception that a person could mend: those of Ray are
tracebacks, and cannot carry every cause. Nothing heavy is imported before ``enter``.
"""

import os
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from extract.errors import InputError

if TYPE_CHECKING:
    from extract.catalog import Item
    from extract.config import ExtractionConfig
    from extract.encoders.base import Encoder
    from extract.engines.parts import Outcome
    from extract.manifest import StoreManifest
    from extract.media.reading import Reader
    from extract.pipeline import BatchSize
    from extract.store import FeatureStore


@dataclass(frozen=True)
class Refusal:
    """An InputError on its way to the person."""

    message: str


@dataclass(frozen=True)
class Doubt:
    """A part that was not written: all that the encoder did with it was to raise.

    Whether that is the encoder's fault or the items' can be told from other parts only.
    """

    places: list[tuple[object, ...]]
    """As ``Faults.places``."""
    reason: str


@dataclass(frozen=True)
class Setup:
    """What an actor needs to know; the same for all of them."""

    config: "ExtractionConfig"
    manifest: "StoreManifest"
    reader: "Reader"
    device: str
    """``cpu`` or ``cuda``."""
    cores: int
    """Threads that compute."""


Answer: TypeAlias = "Outcome | Doubt | Refusal"


class PartActor:
    """One worker process with one encoder; its methods are called one after another."""

    def __init__(self) -> None:
        """Do nothing yet: ``load`` can say what is wrong."""
        self._refusal: Refusal | None = None
        self._setup: Setup
        self._encoder: Encoder
        self._store: FeatureStore
        self._batches: BatchSize

    def enter(self, folder: str, *, on_path: bool) -> None:
        """Go to the driver's working folder; ``load`` tells if that failed.

        Args:
            folder: what relative paths and classes of one's own belong to.
            on_path: whether the driver looks for all its modules there too.
        """
        try:
            os.chdir(folder)
        except OSError as error:
            self._refusal = _refusal(
                f"{folder}: the working folder cannot be entered ({error.strerror}); all machines"
                " of a cluster need the items and the store at the same paths"
            )
        if not on_path:
            # Ray put it there; but a person's files must not stand in for anybody's modules.
            sys.path[:] = [path for path in sys.path if Path(path) != Path(folder)]

    def load(self, setup: Setup) -> Refusal | None:
        """Load the encoder and open the store; None if all went well."""
        self._setup = setup
        try:
            if self._refusal is None:
                self._load()
        except InputError as error:
            self._refusal = _refusal(str(error))
        return self._refusal

    def _load(self) -> None:
        import torch

        from extract.encoders.ready import plain_fingerprint, ready_encoder
        from extract.pipeline import BatchSize
        from extract.store import FeatureStore

        torch.set_num_threads(self._setup.cores)
        config, manifest = self._setup.config, self._setup.manifest
        store = FeatureStore.open(config.out)
        if store.manifest != manifest:
            raise InputError(f"{config.out}: another store than the one of this extraction")
        encoder = ready_encoder(
            manifest.encoder,
            config.modality,
            device=self._setup.device,
            dtype=config.dtype,
            compiled=config.compile,
            frames_at_once=config.batch_size,
        )
        loaded = manifest.model_copy(
            update={
                "fingerprint": plain_fingerprint(
                    encoder, manifest.encoder, compiled=config.compile
                ),
                "dim": encoder.dim,
                "space": encoder.space,
            }
        )
        if differences := manifest.differences(loaded):
            raise InputError(
                f"encoder {manifest.encoder}: not the one that the store was begun with:"
                f" {'; '.join(differences)}"
            )
        self._store, self._encoder = store, encoder
        self._batches = BatchSize(config.items_at_once)

    def encode(self, part: int, items: "Sequence[Item]", *, proven: bool) -> Answer:
        """Encode a part and write it.

        Args:
            part: its number.
            items: its rows.
            proven: whether the encoder is known to work: then what it raises is the items' fault.

        Returns:
            Counts of the part that is now whole on the disk, or why there is none.
        """
        import torch

        from extract.engines.parts import DoubtfulError, UndecidedFaults, outcome_of, preparing
        from extract.pipeline import encode_part
        from extract.preparation import threads_beside

        config, faults = self._setup.config, UndecidedFaults(encoded=proven)
        cores = self._setup.cores
        preparation = preparing(
            [items],
            self._setup.reader,
            self._encoder,
            config,
            workers=config.workers or cores,
            beside=threads_beside(torch.device(self._setup.device), cores),
        )
        try:
            with preparation as stream:
                content = encode_part(
                    stream,
                    len(items),
                    self._encoder,
                    batches=self._batches,
                    faults=faults,
                    finished=lambda _: None,
                )
            faults.check(at_least=1)
            self._store.write_part(part, content)
        except DoubtfulError:
            # Classes may be unknown to the driver; their names tell them apart as well.
            places = [(str(kind), *where) for kind, *where in faults.places]
            return Doubt(places, faults.reason)
        except InputError as error:
            return _refusal(str(error))
        return outcome_of(content.statuses)


def _refusal(message: str) -> Refusal:
    # All machines look alike from afar.
    return Refusal(f"{message} (on {socket.gethostname()})")
