"""The processes of one training: who computes what, and what they have in common.

Every process holds the whole model, graph and features, draws the same batches and blocks from the
same seed, and propagates everything, as one process does. Each then computes the losses of its own
part of a batch's users, weighted with that part's share, so that the sums over the processes of
values and of gradients are one process's. The sums are taken by hand, without a wrapper around the
model: a step has two backward passes, one of them through a gradient, and the second uses the
first one's forward pass, which DistributedDataParallel does not provide for.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Self, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import Tensor

from extract.errors import InputError

T = TypeVar("T")

# Gradients from this size on are summed where they lie; smaller ones are put together first.
_LARGE = 2**18


@dataclass(frozen=True)
class Processes:
    """This process among those of a training; all of them call every method but ``part`` alike."""

    index: int = 0
    count: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    """Where what is exchanged lies."""

    @classmethod
    def of(cls, accelerator: Accelerator) -> Self:
        """Those that accelerate has joined."""
        return cls(accelerator.process_index, accelerator.num_processes, accelerator.device)

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes and reports."""
        return self.index == 0

    def part(self, n: int) -> slice:
        """This process's rows of n: a run of them; lengths differ by one at most."""
        return slice(n * self.index // self.count, n * (self.index + 1) // self.count)

    def share(self, n: int) -> float:
        """The weight with which a mean over ``part(n)`` enters the mean over all n rows."""
        return len(range(n)[self.part(n)]) / n

    # --- sums --------------------------------------------------------------------------------

    def add(self, tensor: Tensor) -> Tensor:
        """The sum of every process's tensor, put in its place: to the same bits in all of them."""
        if self.count > 1:
            try:
                dist.all_reduce(tensor)
            except torch.OutOfMemoryError:
                raise
            except RuntimeError as error:
                raise InputError(
                    "another process of this training has ended, see its message or the"
                    f" launcher's ({' '.join(str(error).split())[:200]})"
                ) from None
        return tensor

    def summed(self, array: NDArray[Any]) -> NDArray[Any]:
        """The sum of every process's array; exact where all but one hold zero."""
        if self.count == 1:
            return array
        return self.add(torch.from_numpy(array).to(self.device)).cpu().numpy()

    def add_gradients(self, gradients: Iterable[Tensor | None]) -> None:
        """Sum every gradient over the processes, in place; None stays None.

        To be done before clipping, and before a loss scale is divided out: what is infinite in one
        process is then infinite in all, so that all leave out the same steps and scale alike.

        Args:
            gradients: of the same parameters in every process, dense ones contiguous. Sparse ones
                have the same indices in the same order everywhere, as those of common draws do.
        """
        if self.count == 1:
            return
        dense = [g._values() if g.is_sparse else g for g in gradients if g is not None]
        small = [g for g in dense if g.numel() < _LARGE]
        for gradient in dense:
            if gradient.numel() >= _LARGE:
                self.add(gradient)
        if small:
            sums = self.add(torch.cat([g.flatten() for g in small]))
            start = 0
            for gradient in small:
                gradient.copy_(sums[start : start + gradient.numel()].view_as(gradient))
                start += gradient.numel()

    # --- agreement ---------------------------------------------------------------------------

    def any(self, flag: bool) -> bool:
        """Whether the flag is up in any process."""
        return self.largest(int(flag)) > 0

    def largest(self, number: int) -> int:
        """The largest of the processes' numbers, each at least 0."""
        if self.count == 1:
            return number
        numbers = np.zeros(self.count, dtype=np.int64)
        numbers[self.index] = number
        return int(self.summed(numbers).max())

    def agree(self, work: Callable[..., T], *arguments: Any, **named: Any) -> T:
        """Do the same work in every process; where it fails in one, it fails in all.

        The others wait for the slowest, and none goes on where another has stopped.

        Raises:
            InputError, FloatingPointError: what the work raised, here or in the first process in
                which it did; an OSError elsewhere is an InputError here.
        """
        if self.count == 1:
            return work(*arguments, **named)
        result: T
        problem: Exception | None = None
        try:
            result = work(*arguments, **named)
        except (InputError, FloatingPointError, OSError) as error:
            problem = error
        if not self.any(problem is not None):
            return result
        found = self._first_problem(problem)
        raise problem if problem is not None else found

    def on_main(self, work: Callable[..., Any], *arguments: Any, **named: Any) -> None:
        """Do the work in the main process while the others wait; its failure is everyone's."""
        self.agree(work if self.is_main else _nothing, *arguments, **named)

    def _first_problem(self, problem: Exception | None) -> Exception:
        """What the first process with a problem says of it."""
        text = np.frombuffer(str(problem).encode() if problem else b"", dtype=np.uint8)
        # A row a process: whether it failed, whether by a number, the bytes of its message.
        table = np.zeros((self.count, 3), dtype=np.int64)
        kind = isinstance(problem, FloatingPointError)
        table[self.index] = problem is not None, kind, len(text)
        table = self.summed(table)
        first = int(table[:, 0].argmax())
        message = np.zeros(table[first, 2], dtype=np.uint8)
        if self.index == first:
            message[:] = text
        said = self.summed(message).tobytes().decode()
        return FloatingPointError(said) if table[first, 1] else InputError(said)

    # --- draws -------------------------------------------------------------------------------

    @contextmanager
    def own_draws(self) -> Iterator[None]:
        """Within, torch's random numbers are this process's own; afterwards they are common again.

        What works on a part of the rows draws as many numbers as it has rows; the common stream,
        from which the dropout of the replicated forward pass comes, must not notice.
        """
        if self.count == 1:
            yield
            return
        seed = int(torch.randint(2**62, ())) + self.index
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices, device_type="cuda"):
            torch.manual_seed(seed)
            yield


ONE = Processes()
"""A process by itself."""


def _nothing(*_: Any, **__: Any) -> None:
    return None
