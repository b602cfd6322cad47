"""The adversarial part: generated and real rows, the critic, and what each side minimises.

METHOD equations 3 to 6. Rows live on a block: B users x S items (all items in the paper's form, a
sample of them otherwise); nothing here ever holds users x items.
"""

from collections.abc import Sequence
from math import sqrt
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from mmssl.vectors import unit_rows

LEAKY_SLOPE = 0.2


def generated_rows(
    users: Tensor, items: Tensor, observed: Tensor, mask_observed: bool = True
) -> Tensor:
    """G[u, S] = normalise((F_u F_i^T)[u, S] * (1 - R[u, S])), L2 over S (METHOD equation 3).

    Args:
        users: (B, d) features of the users.
        items: (S, d) features of the items.
        observed: (B, S) zeros and ones.
        mask_observed: False leaves out the factor 1 - R.

    Returns:
        (B, S), rows of length one (or zero).
    """
    similarity = users @ items.T
    return unit_rows(similarity * (1 - observed) if mask_observed else similarity)


def real_rows(
    observed: Tensor,
    predicted: Tensor,
    uniform: Tensor,
    *,
    gumbel_temperature: float,
    gumbel_scale: float,
    prediction_scale: float,
    temperature_on: Literal["sum", "noise"] = "sum",
) -> Tensor:
    """normalise(softmax((R + s g) / tau_g) + zeta G^final), without gradient (METHOD equation 5).

    Args:
        observed: (B, S) zeros and ones, R.
        predicted: (B, S) generated rows of the final vectors, G^final.
        uniform: (B, S) draws n ~ U(0, 1); g = -log(-log(n + 1e-8) + 1e-8) is Gumbel noise.
        gumbel_temperature, gumbel_scale, prediction_scale: tau_g, s and zeta.
        temperature_on: tau_g divides the sum of observation and noise; ``noise``: the noise alone,
            as a misplaced parenthesis of the published code has it (fault 6).

    Returns:
        (B, S), rows of length one.
    """
    noise = -torch.log(-torch.log(uniform + 1e-8) + 1e-8)
    observation = observed / gumbel_temperature if temperature_on == "sum" else observed
    relaxed = (observation + gumbel_scale * noise / gumbel_temperature).softmax(dim=1)
    return unit_rows(relaxed + prediction_scale * predicted).detach()


class Critic(nn.Module):
    """y = w3 . phi(phi(x W1[S] + b1) W2 + b2) + b3, one for all modalities (METHOD equation 4).

    W1 holds one row an item, so that a column of x always meets its own item's weights. Where
    ``vectors_dim`` is given, W1[S] is V[S] W' instead, V the final item vectors: the column meets
    weights made of its item's vector, and the critic's size does not depend on the catalogue. V is
    divided by the root mean square of its entries, so that the scale of W1 stays W's own.

    phi is LeakyReLU of slope 0.2 followed by dropout; the output is linear; there is no batch
    normalisation, since the gradient penalty is a property of each row alone. Slope 1, batch
    normalisation and 100 sigmoid are the published code's (faults 8 and 9).
    """

    def __init__(
        self,
        n_items: int,
        block_items: int,
        hidden: tuple[int, int],
        dropout: tuple[float, float],
        *,
        vectors_dim: int | None = None,
        slope: float = LEAKY_SLOPE,
        batch_norm: bool = False,
        output: Literal["linear", "sigmoid"] = "linear",
    ) -> None:
        super().__init__()
        self._from_vectors, self._slope, self._output = vectors_dim is not None, slope, output
        self.w1 = nn.Parameter(torch.empty(vectors_dim or n_items, hidden[0]))
        self.b1 = nn.Parameter(torch.zeros(hidden[0]))
        self.w2 = nn.Parameter(torch.empty(hidden))
        self.b2 = nn.Parameter(torch.zeros(hidden[1]))
        self.w3 = nn.Parameter(torch.empty(hidden[1]))
        self.b3 = nn.Parameter(torch.zeros(()))
        # Kaiming normal; a block's row has block_items entries, whatever the catalogue's size.
        gain = sqrt(2 / (1 + slope**2))
        first = block_items * (vectors_dim or 1)
        for weight, fan_in in ((self.w1, first), (self.w2, hidden[0]), (self.w3, hidden[1])):
            nn.init.normal_(weight, std=gain / sqrt(fan_in))
        self.norms = nn.ModuleList(nn.BatchNorm1d(width) for width in hidden if batch_norm)
        self.dropouts = nn.ModuleList(nn.Dropout(rate) for rate in dropout)

    def forward(self, rows: Tensor, items: Tensor, vectors: Tensor | None = None) -> Tensor:
        """Scores (n,) of rows (n, S).

        Args:
            rows: (n, S).
            items: (S,) int64, the items of the columns.
            vectors: (S, d) final vectors of these items, where W1 is made of them; no gradient
                reaches them.
        """
        first = self._activate(rows @ self._first_weights(items, vectors) + self.b1, 0)
        second = self._activate(first @ self.w2 + self.b2, 1)
        scores: Tensor = second @ self.w3
        if self._output == "linear":
            # L_D does not depend on b3: it moves real and generated scores alike. What is left of
            # its gradient is rounding, which Adam would blow up to whole steps.
            return scores + self.b3.detach()
        return 100 * (scores + self.b3).sigmoid()

    def _first_weights(self, items: Tensor, vectors: Tensor | None) -> Tensor:
        if not self._from_vectors:
            return self.w1[items]
        if vectors is None:
            raise ValueError("this critic's first weights are made of the items' vectors")
        given = vectors.detach()
        scale = given.square().mean().sqrt().clamp(min=1e-12)
        return (given / scale).to(self.w1.dtype) @ self.w1

    def _activate(self, values: Tensor, layer: int) -> Tensor:
        activated = leaky_relu(values, self._slope)
        if self.norms:
            activated = self.norms[layer](activated)
        dropped: Tensor = self.dropouts[layer](activated)
        return dropped


def gradient_penalty(
    critic: Critic, mixed: Tensor, items: Tensor, vectors: Tensor | None = None
) -> Tensor:
    """mean (|grad_x D(x^)| - 1)^2 over rows ``mixed`` (n, S) (Gulrajani et al., NeurIPS 2017)."""
    mixed = mixed.detach().requires_grad_()
    scores = critic(mixed, items, vectors)
    (slope,) = torch.autograd.grad(scores.sum(), mixed, create_graph=True)
    penalty: Tensor = (slope.norm(dim=1) - 1).square().mean()
    return penalty


def critic_losses(
    critic: Critic,
    fake: Sequence[Tensor],
    real: Tensor,
    items: Tensor,
    epsilon: Tensor,
    penalty_weight: float,
    vectors: Tensor | None = None,
) -> dict[str, Tensor]:
    """The parts of L_D (METHOD equation 6); their sum is what the critic minimises.

    Args:
        critic: the critic.
        fake: M tensors (B, S), the generated rows of each modality; no gradient reaches them.
        real: (B, S) real rows, one set for all modalities.
        items: (S,) int64, the items of the columns.
        epsilon: (M B, 1) draws of U(0, 1), modality after modality: x^ = eps real + (1 - eps) fake.
        penalty_weight: gp.
        vectors: (S, d) final vectors of the items, for a critic whose W1 is made of them.

    Returns:
        ``wasserstein``: mean D(fake) - mean D(real); ``gradient_penalty``, weighted.
    """
    generated = torch.cat(list(fake)).detach()
    mixed = epsilon * real.repeat(len(fake), 1) + (1 - epsilon) * generated
    return {
        "wasserstein": critic(generated, items, vectors).mean()
        - critic(real, items, vectors).mean(),
        "gradient_penalty": penalty_weight * gradient_penalty(critic, mixed, items, vectors),
    }


def generator_loss(
    critic: Critic, fake: Sequence[Tensor], items: Tensor, vectors: Tensor | None = None
) -> Tensor:
    """L_G = - mean D(G^m rows, all m) (METHOD equation 6); gradients flow to the rows.

    Arguments as of ``critic_losses``.
    """
    scores: Tensor = critic(torch.cat(list(fake)), items, vectors)
    return -scores.mean()
