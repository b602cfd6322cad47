"""What only the published code does; variant ``official`` is made of it (METHOD section 3).

Each piece is one fault, switched on by a setting of its own: its cost can be measured alone.
"""

from collections.abc import Callable, Sequence

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from torch import Tensor


def scrambled_keys(queries: Tensor) -> Tensor:
    """Fault 2: the published keys, from queries (M, N, heads, d / heads); the same shape.

    There the queries lie as (heads, M, N, width), and what should be a projection of its own is
    ``Q.reshape(M, N, heads, width)``: a key is the query of another head, modality and row.
    """
    return queries.permute(2, 0, 1, 3).reshape(queries.shape)


def tiled_owners(users: NDArray[np.int64], k: int) -> NDArray[np.int64]:
    """Fault 5: the owner of each entry of the users' lists (B, k) read row by row.

    The users are repeated as a whole, so that entry j belongs to users[j mod B] where it should
    belong to users[j // k].
    """
    return np.tile(users, k)


class StepwiseRelations:
    """Fault 3: the published graph refresh with T = 1, a step at a time.

    Step 0 of an epoch collects its batch's lists; step 1 makes the graph of them alone; every later
    step makes it of what was collected since, which is nothing.
    """

    def __init__(self, modalities: Sequence[str], shape: tuple[int, int]) -> None:
        self._modalities, self._shape = tuple(modalities), shape
        self.step = 0
        """Steps done of this epoch."""
        self.collected: dict[str, sp.csr_array] = {}
        """What step 0 has collected, a (U, I) matrix a modality; empty once it is used."""

    def begin_epoch(self) -> None:
        """The next step is an epoch's first."""
        self.step, self.collected = 0, {}

    def after_step(
        self, collect: Callable[[], dict[str, sp.csr_array]]
    ) -> dict[str, sp.csr_array] | None:
        """The graphs after a step, a modality each; None where the old ones stay.

        Args:
            collect: makes the (U, I) graphs of the step's batch.
        """
        self.step += 1
        if self.step == 1:
            self.collected = collect()
            return None
        if self.step == 2:
            graphs, self.collected = self.collected, {}
            return graphs
        return {m: sp.csr_array(self._shape, dtype=np.float32) for m in self._modalities}
