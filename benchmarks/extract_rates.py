"""How near the pipeline comes to what its two halves cost alone.

With t_decode seconds an item for reading, decoding and preprocessing alone, and t_encode for the
encoder alone, each on all cores, doing one after the other gives 1 / (t_decode + t_encode) items a
second: the ideal where the same cores do both. Where a GPU encodes while the cores decode, the
pipeline may go beyond it.
"""

import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch

from benchmarks.extract_media import Media
from extract import ExtractionConfig, run
from extract.encoders.base import Encoder, Raw
from extract.item_table import read_catalog
from extract.media.reading import Reader
from extract.preparation import Preparation

# Items that are gone through before the first round: libraries load parts of theirs on first use.
_WARM_UP = 32


class Seconds(NamedTuple):
    """What something took by the clock, and of all cores that this process used meanwhile."""

    clock: float
    cpu: float


class _Clock:
    def __init__(self) -> None:
        self._started, self._cpu_started = time.perf_counter(), time.process_time()

    def seconds(self) -> Seconds:
        return Seconds(time.perf_counter() - self._started, time.process_time() - self._cpu_started)


@dataclass
class Times:
    """Seconds for all items, one entry a round."""

    decode: list[Seconds] = field(default_factory=list)
    encode: list[Seconds] = field(default_factory=list)
    pipeline: list[Seconds] = field(default_factory=list)
    unsorted: list[Seconds] = field(default_factory=list)
    """The pipeline, with an encoder that says that all items are alike; empty if not asked for."""

    def result(self, items: int) -> dict[str, Any]:
        """The figures of a number of items, from the medians of the rounds."""
        clock, cpu = (
            {
                name: statistics.median(values)
                for name, rounds in vars(self).items()
                if (values := [getattr(seconds, kind) for seconds in rounds])
            }
            for kind in Seconds._fields
        )
        figures: dict[str, Any] = {
            "items": items,
            "t_decode": clock["decode"] / items,
            "t_encode": clock["encode"] / items,
            "ideal_items_per_s": items / (clock["decode"] + clock["encode"]),
            "pipeline_items_per_s": items / clock["pipeline"],
            "ratio": (clock["decode"] + clock["encode"]) / clock["pipeline"],
            # On a machine with other work the cores' seconds tell more than the clock's.
            "cpu_ratio": (cpu["decode"] + cpu["encode"]) / cpu["pipeline"],
        }
        if self.unsorted:
            figures["unsorted_items_per_s"] = items / clock["unsorted"]
            figures["sorted_over_unsorted"] = clock["unsorted"] / clock["pipeline"]
        return figures | {"rounds": vars(self)}


class _Wrapped(Encoder):
    """Another encoder with one thing changed."""

    def __init__(self, inner: Encoder) -> None:
        self.inner = inner
        self.modalities = inner.modalities
        self.dim, self.space = inner.dim, inner.space

    def preprocess(self, raw: Raw) -> Any:
        return self.inner.preprocess(raw)

    def length(self, prepared: Any) -> int:
        return self.inner.length(prepared)

    def encode(self, batch: Sequence[Any]) -> torch.Tensor:
        return self.inner.encode(batch)

    def fingerprint(self) -> dict[str, Any]:
        return self.inner.fingerprint()


class _Recording(_Wrapped):
    """Keeps the batches that it is given and computes nothing."""

    def __init__(self, inner: Encoder) -> None:
        super().__init__(inner)
        self.batches: list[list[Any]] = []

    def encode(self, batch: Sequence[Any]) -> torch.Tensor:
        self.batches.append(list(batch))
        return torch.zeros(len(batch), self.dim)


class _Unsorted(_Wrapped):
    """Says that all items are alike."""

    def length(self, prepared: Any) -> int:  # noqa: ARG002
        return 0


class Measurement:
    """One encoder on one item table."""

    def __init__(
        self, media: Media, uri: str, encoder: Encoder, scratch: Path, **options: Any
    ) -> None:
        """Take an encoder that is on its device already.

        Args:
            media: the items.
            uri: what the encoder is called.
            encoder: the same, loaded.
            scratch: a folder for the stores.
            options: of ``ExtractionConfig``.
        """
        self._encoder, self._out = encoder, scratch / "store"
        self._config = ExtractionConfig.parse(
            {
                **options,
                "items": media.table,
                "modality": media.modality,
                "column": media.column,
                "encoder": uri,
                "out": self._out,
                "overwrite": True,
            }
        )
        self._catalog = read_catalog(self._config)
        self.items = len(self._catalog)
        self._workers = self._config.workers or os.cpu_count() or 1
        self._parts = range(0, self.items, self._config.rows_per_part)

    def measure(
        self, rounds: int, *, unsorted: bool = False, tell: Callable[[str], None] = lambda _: None
    ) -> Times:
        """Time everything in turn, so that whatever else the machine does meets all alike.

        Args:
            rounds: how often each.
            unsorted: also the pipeline without sorting.
            tell: called with a line after each round.
        """
        batches = self._batches()
        self._encode(batches[:1])
        self._decode(_WARM_UP)
        times = Times()
        for done in range(1, rounds + 1):
            times.decode.append(self._decode(self.items))
            times.encode.append(self._encode(batches))
            times.pipeline.append(self._run(self._encoder))
            if unsorted:
                times.unsorted.append(self._run(_Unsorted(self._encoder)))
            said = ", ".join(
                f"{name} {values[-1].clock:.2f} s ({values[-1].cpu:.2f} CPU)"
                for name, values in vars(times).items()
                if values
            )
            tell(f"round {done} of {rounds}: {said}; load {os.getloadavg()[0]:.1f}")
        return times

    def _batches(self) -> list[list[Any]]:
        """The prepared batches, just as the pipeline gives them to the encoder."""
        recording = _Recording(self._encoder)
        self._run(recording)
        return recording.batches

    def _decode(self, items: int) -> Seconds:
        started = _Clock()
        with Preparation(
            (
                self._catalog.items(row, min(row + self._config.rows_per_part, items))
                for row in self._parts
            ),
            Reader.of(self._config, self._catalog.base),
            self._encoder,
            workers=self._workers,
            ahead=4 * self._workers * self._config.batch_size,
        ) as prepared:
            for _ in prepared:
                pass
        return started.seconds()

    def _encode(self, batches: Sequence[Sequence[Any]]) -> Seconds:
        started = _Clock()
        with torch.inference_mode():
            for batch in batches:
                self._encoder.encode(batch).to("cpu", torch.float32)
        return started.seconds()

    def _run(self, encoder: Encoder) -> Seconds:
        started = _Clock()
        run(self._config, encoder=encoder)
        return started.seconds()
