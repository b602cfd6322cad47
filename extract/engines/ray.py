"""The Ray engine: a pool of actors over the parts of a store that are not whole yet.

The driver streams rows to the actors, a bounded number of parts at a time; an actor encodes a part
as the local engine does and writes it itself. An actor that is lost is replaced, and its parts go
back to the queue.
"""

import logging
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from pathlib import Path
from types import ModuleType
from typing import Any

from extract.catalog import Catalog
from extract.config import ExtractionConfig
from extract.engines.parts import Outcome, Tally, outcome_of
from extract.engines.ray_actor import Doubt, PartActor, Refusal, Setup
from extract.engines.ray_cluster import Share, connected, divide
from extract.errors import InputError
from extract.media.reading import Reader
from extract.pipeline import SAME_FAULTS, Faults
from extract.store import FeatureStore

DEATHS = 3
"""So many actors die of one part, or in a row before they are ready, and no more are tried."""

# One that is encoded, and one that is at hand when it is done.
_PARTS_PER_ACTOR = 2
_PATIENCE_SECONDS = 60.0


def run_parts(
    parts: Sequence[int],
    *,
    store: FeatureStore,
    catalog: Catalog,
    config: ExtractionConfig,
    advance: Callable[[int], None],
) -> None:
    """Have a cluster's actors encode and write parts.

    Args:
        parts: numbers of the parts to make; all others must be whole.
        store: where they are written; its manifest says which encoder makes them.
        catalog: where the items of those parts are looked up.
        config: which cluster, how many actors on which device, and what the local engine reads.
        advance: called with the number of rows just finished.

    Raises:
        TooManyErrors: more items failed than ``config.max_errors``, those of whole parts included.
        InputError: no cluster, or not enough of one; the encoder is broken, or the store cannot be
            written; or ``DEATHS`` actors died of a part, all others being finished.
    """
    tally = Tally(store, parts, config.max_errors)
    with connected(config.ray_address) as ray:
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        share = divide(nodes, actors=config.actors, device=config.device)
        setup = Setup(
            config=config,
            manifest=store.manifest,
            reader=Reader.of(config, catalog.base),
            device="cuda" if share.gpus else "cpu",
            cores=share.cores,
        )
        pool = _Pool(ray, share, setup, store, catalog, tally, advance)
        try:
            pool.make(parts)
        finally:
            pool.dismiss()


@dataclass(eq=False)
class _Worker:
    """An actor as the driver knows it."""

    actor: Any
    ready: bool = False
    parts: list[int] = field(default_factory=list)
    """What it was given and has not answered; it works on the first."""


@dataclass
class _Pool:
    """A part waits, is with a worker, is in doubt, is given up, or is whole."""

    ray: ModuleType
    share: Share
    setup: Setup
    store: FeatureStore
    catalog: Catalog
    tally: Tally
    advance: Callable[[int], None]

    waiting: list[int] = field(default_factory=list)
    """A heap: the first rows of the table come first."""
    workers: list[_Worker] = field(default_factory=list)
    calls: dict[Any, tuple[_Worker, int | None]] = field(default_factory=dict)
    """What has not been answered yet: of whom, and the part; None: whether it is ready."""
    doubts: dict[int, Doubt] = field(default_factory=dict)
    trusted: bool = False
    """Whether what the encoder raises counts as the items' fault, though it encoded nothing."""
    deaths: Counter[int] = field(default_factory=Counter)
    """How often a worker died while it worked on a part."""
    given_up: list[int] = field(default_factory=list)
    failed_starts: int = 0
    stood: dict[int, dict[str, Any] | None] = field(default_factory=dict)
    """The record of a part, before it was made, that is to be made anew."""

    def make(self, parts: Sequence[int]) -> None:
        """Make parts until each of them is whole or given up."""
        self.waiting = sorted(parts)
        reason = ""
        while open_parts := self._open():
            while len(self.workers) < min(self.share.actors, len(open_parts)):
                self._hire()
            self._give_out()
            for call in self._answered():
                worker, part = self.calls.pop(call, (None, None))
                if worker is None:
                    continue  # it died, as another call has shown
                try:
                    answer = self.ray.get(call)
                except self.ray.exceptions.RayTaskError:
                    raise  # a fault of ours
                except self.ray.exceptions.RayError as error:
                    reason = _last_line(error)
                    self._bury(worker, reason)
                else:
                    self._take(worker, part, answer)
            self._decide_doubts()
        if self.given_up:
            raise InputError(f"{self._gave_up()} (Ray says: {reason})")

    def dismiss(self) -> None:
        """End all actors at once; what they have not finished is lost."""
        for worker in self.workers:
            self.ray.kill(worker.actor)

    def _open(self) -> list[int]:
        """Parts that wait or are with a worker."""
        return [*self.waiting, *(part for worker in self.workers for part in worker.parts)]

    def _hire(self) -> None:
        options = {"num_cpus": self.share.cores, "num_gpus": self.share.gpus}
        actor = self.ray.remote(PartActor).options(max_restarts=0, **options).remote()
        folder = Path.cwd()
        on_path = any(Path(entry or folder) == folder for entry in sys.path)
        actor.enter.remote(str(folder), on_path=on_path)
        worker = _Worker(actor)
        self.workers.append(worker)
        self.calls[actor.load.remote(self.setup)] = (worker, None)

    def _give_out(self) -> None:
        for already in range(_PARTS_PER_ACTOR):
            for worker in self.workers:
                if self.waiting and worker.ready and len(worker.parts) == already:
                    part = heappop(self.waiting)
                    if part not in self.stood:
                        self.stood[part] = self.store.part_record(part)
                    first = self.store.part_rows(part).start
                    items = self.catalog.find(self.store.part_ids(part), near=first)
                    proven = self.tally.encoded or self.trusted
                    call = worker.actor.encode.remote(part, items, proven=proven)
                    worker.parts.append(part)
                    self.calls[call] = (worker, part)

    def _answered(self) -> list[Any]:
        """Calls that have been answered, or never will be; waits for the first."""
        while True:
            calls, nobody = list(self.calls), not any(worker.ready for worker in self.workers)
            patience = _PATIENCE_SECONDS if nobody else None
            answered: list[Any] = self.ray.wait(calls, num_returns=1, timeout=patience)[0]
            if answered:
                return answered
            logging.getLogger(__name__).warning(
                "no Ray actor is ready yet: the cluster may be busy, or the encoder slow to load"
            )

    def _take(self, worker: _Worker, part: int | None, answer: object) -> None:
        """Take a worker's answer."""
        if isinstance(answer, Refusal):
            raise InputError(answer.message)
        if part is None:
            worker.ready, self.failed_starts = True, 0
            return
        worker.parts.remove(part)
        if isinstance(answer, Doubt):
            self.doubts[part] = answer
        elif isinstance(answer, Outcome):
            self._finish(part, answer)

    def _finish(self, part: int, outcome: Outcome) -> None:
        self.advance(len(self.store.part_rows(part)))
        self.tally.add(outcome)

    def _bury(self, worker: _Worker, reason: str) -> None:
        """Forget a worker that is lost; its parts go back, the one it worked on with a mark."""
        self.workers.remove(worker)
        # It may only be out of reach.
        self.ray.kill(worker.actor)
        self.calls = {call: of for call, of in self.calls.items() if of[0] is not worker}
        if not worker.ready:
            self.failed_starts += 1
            if self.failed_starts == DEATHS:
                raise InputError(
                    f"{DEATHS} Ray actors in a row ended before they had loaded the encoder"
                    f" {self.setup.manifest.encoder} (Ray says: {reason})"
                )
        for part in worker.parts:
            if self.store.part_record(part) not in (None, self.stood[part]):
                # It was finished, but nobody could say so any more.
                self._finish(part, outcome_of(self.store.part_statuses(part)))
                continue
            self.deaths[part] += part == worker.parts[0]
            if self.deaths[part] < DEATHS:
                heappush(self.waiting, part)
            else:
                self.given_up.append(part)

    def _decide_doubts(self) -> None:
        """Decide whether the encoder is at fault, as the local engine would, going by the table.

        Raises:
            InputError: it is: up to some part nothing was encoded, and all attempts failed alike.
        """
        if not self.doubts:
            return
        open_parts = self._open()
        if not (self.tally.encoded or self.trusted):
            # What comes after a part that is still open was not tried yet, going by the table.
            before = min(open_parts, default=self.store.part_count)
            doubts = [self.doubts[part] for part in sorted(self.doubts) if part < before]
            faults = Faults(encoded=False)
            for doubt in doubts:
                faults.places += doubt.places
                faults.reason = doubt.reason
            faults.check(at_least=SAME_FAULTS if open_parts else 1)
            if open_parts:
                return
            self.trusted = True
        for part in self.doubts:
            heappush(self.waiting, part)
        self.doubts.clear()

    def _gave_up(self) -> str:
        part = min(self.given_up)
        rows, names = self.store.part_rows(part), self.store.part_ids(part)
        more = f", and so did {len(self.given_up) - 1} more parts" if self.given_up[1:] else ""
        return (
            f"part {part} (rows {rows.start + 1} to {rows.stop}, items {names[0]!r} to"
            f" {names[-1]!r}) ended its worker process {DEATHS} times{more}; perhaps a medium"
            " kills its decoder or memory runs out; all other parts are finished and kept in"
            f" {self.store.path}"
        )


def _last_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[-1].strip()[:200]
