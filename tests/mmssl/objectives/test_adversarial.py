import numpy as np
import pytest
import torch

from mmssl.objectives.adversarial import (
    LEAKY_SLOPE,
    Critic,
    critic_losses,
    generated_rows,
    generator_loss,
    gradient_penalty,
    real_rows,
)

ITEMS = torch.tensor([0, 2, 3, 5])


@pytest.fixture
def critic() -> Critic:
    torch.manual_seed(0)
    return Critic(6, 4, (5, 3), (0.0, 0.0)).double()


def slow_scores(critic: Critic, rows: np.ndarray, items: np.ndarray) -> np.ndarray:
    weights = {name: p.detach().numpy() for name, p in critic.named_parameters()}

    def leaky(x):
        return np.where(x > 0, x, 0.2 * x)

    first = leaky(rows @ weights["w1"][items] + weights["b1"])
    second = leaky(first @ weights["w2"] + weights["b2"])
    return second @ weights["w3"] + weights["b3"]


def test_a_column_meets_its_own_items_weights(critic):
    rows = np.random.default_rng(0).normal(size=(3, 4))
    ours = critic(torch.as_tensor(rows), ITEMS).detach()
    np.testing.assert_allclose(ours, slow_scores(critic, rows, ITEMS.numpy()), rtol=1e-12)
    assert LEAKY_SLOPE == 0.2


def test_generated_rows_have_length_one_and_no_observed_item():
    draw = torch.Generator().manual_seed(0)
    users, items = torch.randn(3, 2, generator=draw), torch.randn(4, 2, generator=draw)
    observed = torch.tensor([[1.0, 0, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1]])
    rows = generated_rows(users, items, observed)
    assert rows[0, 0] == 0
    np.testing.assert_allclose(rows.norm(dim=1), [1, 1, 0], atol=1e-6)
    unmasked = generated_rows(users, items, observed, mask_observed=False)
    np.testing.assert_allclose(unmasked.norm(dim=1), [1, 1, 1], atol=1e-6)


def test_almost_all_mass_of_a_real_row_lies_on_observed_items():
    """Fault 6: with the temperature on the noise alone the observed items' share is near zero."""
    observed = torch.zeros(1, 50)
    observed[0, :5] = 1
    uniform = torch.rand(1, 50, generator=torch.Generator().manual_seed(0))
    rows = real_rows(
        observed,
        torch.zeros(1, 50),
        uniform,
        gumbel_temperature=0.005,
        gumbel_scale=1e-5,
        prediction_scale=0.0,
    )
    assert rows[0, :5].sum() / rows.sum() > 0.999


def test_real_rows_carry_no_gradient():
    predicted = torch.rand(2, 4, requires_grad=True)
    rows = real_rows(
        torch.eye(2, 4),
        predicted,
        torch.full((2, 4), 0.5),
        gumbel_temperature=0.1,
        gumbel_scale=0.1,
        prediction_scale=1.0,
    )
    assert not rows.requires_grad


def test_gradient_penalty_equals_finite_differences(critic):
    rows = torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    step = 1e-6
    slopes = np.zeros((3, 4))
    for column in range(4):
        ahead, behind = rows.clone(), rows.clone()
        ahead[:, column] += step
        behind[:, column] -= step
        difference = critic(ahead, ITEMS) - critic(behind, ITEMS)
        slopes[:, column] = difference.detach().numpy() / (2 * step)
    by_hand = np.mean((np.linalg.norm(slopes, axis=1) - 1) ** 2)
    np.testing.assert_allclose(gradient_penalty(critic, rows, ITEMS).item(), by_hand, rtol=1e-6)


def test_a_critic_taught_by_its_losses_tells_real_rows_from_generated_ones(critic):
    torch.manual_seed(0)
    real = torch.nn.functional.normalize(torch.tensor([[1.0, 1, 0, 0]] * 8).double())
    fake = [torch.nn.functional.normalize(torch.tensor([[0.0, 0, 1, 1]] * 8).double())]
    optimiser = torch.optim.Adam(critic.parameters(), lr=1e-2, betas=(0.5, 0.9))
    for _ in range(200):
        optimiser.zero_grad()
        epsilon = torch.rand(8, 1, dtype=torch.float64)
        parts = critic_losses(critic, fake, real, ITEMS, epsilon, 10.0)
        sum(parts.values()).backward()
        optimiser.step()
    assert critic(real, ITEMS).mean() - critic(fake[0], ITEMS).mean() > 0.5
    assert parts["gradient_penalty"] < 1.0


def test_no_gradient_of_the_critics_loss_reaches_the_rows_but_the_generators_does(critic):
    rows = torch.rand(2, 4, dtype=torch.float64, requires_grad=True)
    epsilon = torch.rand(2, 1, dtype=torch.float64)
    parts = critic_losses(critic, [rows], torch.rand(2, 4).double(), ITEMS, epsilon, 1.0)
    sum(parts.values()).backward()
    assert rows.grad is None
    generator_loss(critic, [rows], ITEMS).backward()
    assert rows.grad.abs().sum() > 0


def test_weights_begin_kaiming_normal_whatever_the_catalogues_size():
    torch.manual_seed(0)
    critic = Critic(5000, 200, (300, 100), (0.0, 0.0))
    gain = np.sqrt(2 / (1 + 0.2**2))
    for weight, fan_in in ((critic.w1, 200), (critic.w2, 300), (critic.w3, 100)):
        np.testing.assert_allclose(weight.std().item(), gain / np.sqrt(fan_in), rtol=0.15)
    assert all(bias.abs().sum() == 0 for bias in (critic.b1, critic.b2, critic.b3))


def test_dropout_draws_its_own_mask_for_every_row_and_rests_in_evaluation(critic):
    noisy = Critic(6, 4, (50, 30), (0.31, 0.5)).double()
    rows = torch.ones(2, 4, dtype=torch.float64)
    torch.manual_seed(0)
    first, second = noisy.train()(rows, ITEMS)
    assert first != second
    first, second = noisy.eval()(rows, ITEMS)
    assert first == second


# --- other forms of the critic ---------------------------------------------------------------


def form(**settings) -> Critic:
    torch.manual_seed(0)
    return Critic(6, 4, (5, 3), (0.0, 0.0), **settings).double()


def test_weights_made_of_vectors_are_v_times_w_with_v_scaled_to_a_mean_square_of_one():
    draw = np.random.default_rng(0)
    critic, rows, vectors = form(vectors_dim=2), draw.normal(size=(3, 4)), draw.normal(size=(4, 2))
    scaled = vectors / np.sqrt(np.mean(vectors**2))
    weights = {name: p.detach().numpy() for name, p in critic.named_parameters()}
    first = rows @ (scaled @ weights["w1"]) + weights["b1"]
    second = np.where(first > 0, first, 0.2 * first) @ weights["w2"] + weights["b2"]
    by_hand = np.where(second > 0, second, 0.2 * second) @ weights["w3"] + weights["b3"]
    given = torch.as_tensor(vectors)
    ours = critic(torch.as_tensor(rows), ITEMS, given)
    np.testing.assert_allclose(ours.detach(), by_hand, rtol=1e-9)
    larger = critic(torch.as_tensor(rows), ITEMS, 1000 * given)
    np.testing.assert_allclose(larger.detach(), by_hand, rtol=1e-9)


def test_no_gradient_reaches_the_vectors_and_the_rows_get_one():
    critic = form(vectors_dim=2)
    rows, vectors = (
        torch.randn(*shape, dtype=torch.float64, requires_grad=True) for shape in ((3, 4), (4, 2))
    )
    generator_loss(critic, [rows], ITEMS, vectors).backward()
    assert vectors.grad is None
    assert rows.grad.abs().sum() > 0
    assert critic.w1.grad.abs().sum() > 0


def test_a_critic_of_vectors_has_one_size_whatever_the_catalogue_and_needs_the_vectors():
    sizes = {
        n: sum(p.numel() for p in Critic(n, 4, (5, 3), (0.0, 0.0), vectors_dim=2).parameters())
        for n in (6, 6000)
    }
    assert sizes[6] == sizes[6000] == 2 * 5 + 5 + 5 * 3 + 3 + 3 + 1
    with pytest.raises(ValueError, match="vectors"):
        form(vectors_dim=2)(torch.ones(1, 4).double(), ITEMS)


def test_first_activations_begin_with_one_scale_in_both_forms():
    """V is of unit mean square, so that both forms of W1 have entries of one deviation."""
    torch.manual_seed(0)
    vectors = 0.01 * torch.randn(200, 64)
    of_items = Critic(200, 200, (500, 3), (0.0, 0.0)).w1
    of_vectors = Critic(200, 200, (500, 3), (0.0, 0.0), vectors_dim=64)
    made = of_vectors._first_weights(torch.arange(200), vectors)
    np.testing.assert_allclose(made.std().item(), of_items.std().item(), rtol=0.05)


@pytest.mark.parametrize("slope", [0.0, 0.5, 1.0])
def test_the_slope_is_that_of_both_activations_and_of_the_initial_scale(slope):
    critic = form(slope=slope)
    rows = np.random.default_rng(0).normal(size=(3, 4))
    weights = {name: p.detach().numpy() for name, p in critic.named_parameters()}
    first = rows @ weights["w1"][ITEMS] + weights["b1"]
    second = np.where(first > 0, first, slope * first) @ weights["w2"] + weights["b2"]
    by_hand = np.where(second > 0, second, slope * second) @ weights["w3"] + weights["b3"]
    ours = critic(torch.as_tensor(rows), ITEMS).detach()
    np.testing.assert_allclose(ours, by_hand, rtol=1e-9)
    wide = Critic(500, 500, (400, 3), (0.0, 0.0), slope=slope)
    expected = np.sqrt(2 / (1 + slope**2) / 500)
    np.testing.assert_allclose(wide.w1.std().item(), expected, rtol=0.05)


def test_the_published_form_normalises_over_the_batch_and_ends_in_100_sigmoid():
    """Linear, LeakyReLU, BatchNorm, twice; Linear; 100 sigmoid: by numpy, in training."""
    critic = form(batch_norm=True, output="sigmoid", slope=1.0).train()
    rows = np.random.default_rng(0).normal(size=(7, 4))
    weights = {name: p.detach().numpy() for name, p in critic.named_parameters()}

    def normalised(x):
        return (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + 1e-5)

    first = normalised(rows @ weights["w1"][ITEMS] + weights["b1"])
    second = normalised(first @ weights["w2"] + weights["b2"])
    by_hand = 100 / (1 + np.exp(-(second @ weights["w3"] + weights["b3"])))
    ours = critic(torch.as_tensor(rows), ITEMS).detach()
    np.testing.assert_allclose(ours, by_hand, rtol=1e-9)


@pytest.mark.parametrize("divided", ["sum", "noise"])
def test_the_temperature_divides_the_sum_or_the_noise_alone(divided):
    draw = np.random.default_rng(0)
    observed = (draw.random((3, 8)) < 0.3).astype(float)
    predicted, uniform = draw.normal(size=(3, 8)), draw.random((3, 8))
    gumbel = -np.log(-np.log(uniform + 1e-8) + 1e-8)
    logits = (observed + 0.2 * gumbel) / 0.3
    if divided == "noise":
        logits = observed + 0.2 * gumbel / 0.3
    relaxed = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    by_hand = relaxed + 0.7 * predicted
    by_hand /= np.linalg.norm(by_hand, axis=1, keepdims=True)
    ours = real_rows(
        *(torch.as_tensor(x) for x in (observed, predicted, uniform)),
        gumbel_temperature=0.3,
        gumbel_scale=0.2,
        prediction_scale=0.7,
        temperature_on=divided,
    )
    np.testing.assert_allclose(ours, by_hand, rtol=1e-9)
