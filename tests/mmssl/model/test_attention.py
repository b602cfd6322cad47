import numpy as np
import pytest
import torch

from mmssl.model.attention import CrossModalAttention


def slow_attention(relations: np.ndarray, w_q, w_k, w_cat, heads: int) -> np.ndarray:
    """Equation 9 of METHOD for one user or item, head by head and modality by modality."""
    n_modalities, dim = relations.shape
    width = dim // heads
    fused = np.zeros((n_modalities, w_cat.shape[1]))
    for m in range(n_modalities):
        parts = []
        for h in range(heads):
            columns = slice(h * width, (h + 1) * width)
            query = (relations[m] @ w_q)[columns]
            scores = np.array(
                [
                    query @ (relations[k] @ w_k)[columns] / np.sqrt(width)
                    for k in range(n_modalities)
                ]
            )
            weights = np.exp(scores) / np.exp(scores).sum()
            parts.append(sum(w * relations[k] for k, w in enumerate(weights)))
        fused[m] = np.concatenate(parts) @ w_cat
    return fused.mean(axis=0)


@pytest.mark.parametrize(("heads", "modalities"), [(1, 1), (2, 3), (4, 2)])
def test_equals_the_loops_of_the_equation(heads, modalities):
    torch.manual_seed(0)
    attention = CrossModalAttention(8, heads, "paper").double()
    relations = torch.randn(modalities, 5, 8, dtype=torch.float64)
    ours = attention(list(relations)).detach().numpy()
    weights = [w.detach().numpy() for w in (attention.w_q, attention.w_k, attention.w_cat)]
    for row in range(5):
        slow = slow_attention(relations[:, row].numpy(), *weights, heads)
        np.testing.assert_allclose(ours[row], slow, rtol=1e-9)


def test_queries_and_keys_get_gradients():
    """Faults 1 and 2: in the published code neither reaches the output."""
    torch.manual_seed(0)
    attention = CrossModalAttention(8, 2, "paper")
    attention([torch.randn(5, 8), torch.randn(5, 8)]).square().sum().backward()
    assert attention.w_q.grad.norm() > 1e-4
    assert attention.w_k.grad.norm() > 1e-4


def test_identity_repeats_the_modalities_through_w_cat():
    """Fault 1: Z^m = [H^m .. H^m] W_cat."""
    torch.manual_seed(0)
    attention = CrossModalAttention(4, 2, "identity")
    relations = [torch.randn(3, 4), torch.randn(3, 4)]
    by_hand = torch.stack([torch.cat([h, h], dim=1) @ attention.w_cat for h in relations]).mean(0)
    torch.testing.assert_close(attention(relations), by_hand)
    assert attention.w_q is None
