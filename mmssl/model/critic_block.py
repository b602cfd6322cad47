"""The block that the critic works on in one step: some users x some items (METHOD section 4)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from mmssl.data.sampling import Batch, distinct
from mmssl.model.config import AdversarialConfig
from mmssl.objectives.adversarial import generated_rows
from mmssl.vectors import TwoSided

# Up to here a random order of all items is as quick as drawing without it.
_ORDERED = 2**15


@dataclass(frozen=True)
class CriticBlock:
    """B' users x S items and the step's random draws: n of equation 5 and eps of equation 6."""

    users: Tensor
    """(B',) int64 user rows."""
    items: Tensor
    """(S,) int64 item rows, ascending."""
    uniform: Tensor
    """(B', S) draws of U(0, 1)."""
    epsilon: Tensor
    """(M B', 1) draws of U(0, 1), modality after modality."""

    def __len__(self) -> int:
        """B'."""
        return len(self.users)

    def part(self, rows: slice) -> "CriticBlock":
        """Some of the users, on the same items, with their draws."""
        of_modalities = self.epsilon.view(-1, len(self), 1)[:, rows]
        return CriticBlock(
            self.users[rows], self.items, self.uniform[rows], of_modalities.reshape(-1, 1)
        )

    def rows(self, side: TwoSided, observed: Tensor, mask_observed: bool) -> Tensor:
        """Equation 3 of the given vectors on this block: (B', S)."""
        return generated_rows(side.user[self.users], side.item[self.items], observed, mask_observed)


def block_items(config: AdversarialConfig, n_items: int) -> int:
    """S: ``critic_items``, at most all."""
    return n_items if config.critic_items == "all" else min(config.critic_items, n_items)


def draw_block(
    batch: Batch,
    *,
    n_items: int,
    users: int,
    items: int,
    modalities: int,
    generator: torch.Generator,
    dtype: torch.dtype,
) -> CriticBlock:
    """Some of a batch's users, their distinct positives and uniform other items, ascending.

    Where there are more distinct positives than ``items``, some are left out.

    Args:
        batch: the step's batch.
        n_items: I.
        users: B', at most the batch's.
        items: S in all; I for the paper's form.
        modalities: M.
        generator: CPU generator of all draws.
        dtype: of the draws of U(0, 1).
    """
    device = batch.users.device
    chosen = torch.randperm(len(batch.users), generator=generator)[:users].to(device)
    if items == n_items:
        columns = torch.arange(n_items)
    elif n_items > _ORDERED:
        own = torch.unique(batch.positives[chosen].cpu())
        own = own[distinct(len(own), min(len(own), items), generator)]
        others = distinct(n_items, items - len(own), generator, without=own)
        columns = torch.cat([own, others]).sort().values
    else:
        # A random order of all items with the positives moved to the front, cut to size.
        priority = torch.rand(n_items, generator=generator)
        priority[batch.positives[chosen].cpu()] -= 1
        columns = priority.topk(items, largest=False).indices.sort().values
    uniform = torch.rand(len(chosen), items, generator=generator)
    epsilon = torch.rand(len(chosen) * modalities, 1, generator=generator)
    return CriticBlock(
        batch.users[chosen],
        columns.to(device),
        uniform.to(device, dtype),
        epsilon.to(device, dtype),
    )
