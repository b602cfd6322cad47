import numpy as np
import pytest
import torch
from scipy.sparse import csr_array

from extract.errors import InputError
from mmssl.baselines.xsimgcl import XSimGCL, XSimGCLConfig
from mmssl.config import TrainingConfig
from mmssl.data.sampling import Batch
from mmssl.data.sparse import SparseMatrix

# User 6 and item 5 have no interaction.
OBSERVED = np.array(
    [
        [1, 1, 0, 0, 1, 0],
        [0, 1, 1, 0, 0, 0],
        [0, 0, 0, 1, 1, 0],
        [1, 0, 1, 1, 0, 0],
        [0, 1, 0, 0, 0, 0],
        [1, 0, 1, 0, 1, 0],
        [0, 0, 0, 0, 0, 0],
    ],
    dtype=np.float32,
)
# User 2 and item 4 stand there twice.
BATCH = Batch(torch.tensor([2, 0, 5, 2]), torch.tensor([4, 1, 4, 3]), torch.tensor([0, 2, 5, 5]))


def model(observed=OBSERVED, **settings) -> XSimGCL:
    config = XSimGCLConfig.model_validate({"embedding_dim": 4, **settings})
    torch.manual_seed(0)
    return XSimGCL(config, csr_array(observed), {}, torch.Generator(), dtype=torch.float64)


def layers_of(gcl: XSimGCL, noise: float, uniform=None) -> list[tuple[np.ndarray, np.ndarray]]:
    """Layers 0..L of both sides, from the paper: e = A e + sign(A e) * eps n/|n|."""
    over = np.sqrt(np.outer(OBSERVED.sum(axis=1), OBSERVED.sum(axis=0)))
    graph = np.divide(OBSERVED, over, out=np.zeros(OBSERVED.shape), where=over > 0)
    layers = [(gcl.user_id.detach().numpy(), gcl.item_id.detach().numpy())]
    for layer in range(gcl.config.layers):
        users, items = layers[-1]
        above = [graph @ items, graph.T @ users]
        if uniform is not None:
            for side, drawn in enumerate(uniform[layer]):
                unit = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
                above[side] = above[side] + noise * np.sign(above[side]) * unit
        layers.append((above[0], above[1]))
    return layers


def contrast(one, other, nodes, tau) -> float:
    def similarity(i, j):
        a, b = one[i], other[j]
        return np.exp(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)) / tau)

    shares = [similarity(i, i) / sum(similarity(i, j) for j in nodes) for i in nodes]
    return float(-np.log(shares).mean())


@pytest.mark.parametrize("contrast_layer", [0, 1, 2, 3])
def test_its_objective_with_the_noise_held_fixed(contrast_layer):
    gcl = model(
        noise=0.3, contrast_layer=contrast_layer, contrast_weight=0.7, temperature=0.4, layers=3
    )
    gcl.train()
    torch.manual_seed(11)
    parts = gcl.losses(BATCH)
    torch.manual_seed(11)
    # Layer after layer, users before items.
    uniform = [
        [torch.rand(rows, 4, dtype=torch.float64).numpy() for rows in (7, 6)] for _ in range(3)
    ]
    layers = layers_of(gcl, 0.3, uniform)
    users, items = (np.mean([layer[side] for layer in layers[1:]], axis=0) for side in (0, 1))
    for name, final, side, nodes in (
        ("user_contrast", users, 0, (0, 2, 5)),
        ("item_contrast", items, 1, (1, 3, 4)),
    ):
        wanted = 0.7 * contrast(final, layers[contrast_layer][side], nodes, 0.4)
        assert parts[name].item() == pytest.approx(wanted, rel=1e-6)
    rows = list(zip(BATCH.users, BATCH.positives, BATCH.negatives, strict=True))
    margins = np.array([users[u] @ (items[p] - items[n]) for u, p, n in rows])
    assert parts["bpr"].item() == pytest.approx(np.log1p(np.exp(-margins)).mean())
    start = layers[0]
    squares = sum(
        (start[0][u] ** 2).sum() + (start[1][p] ** 2).sum() + (start[1][n] ** 2).sum()
        for u, p, n in rows
    )
    assert parts["embedding_l2"].item() == pytest.approx(1e-4 * 0.5 * squares / 4)
    assert set(parts) == {"bpr", "embedding_l2", "user_contrast", "item_contrast"}


def test_scoring_is_without_noise_and_without_layer_0():
    gcl = model(noise=0.3).train()
    layers = layers_of(gcl, 0)[1:]
    for side, found in enumerate(gcl.embeddings()):
        wanted = np.mean([layer[side] for layer in layers], axis=0)
        np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-5, atol=1e-6)
    assert gcl.training
    assert gcl.score()(torch.tensor([6])).tolist() == [[0.0] * 6]


def test_a_step_takes_one_forward_pass(monkeypatch):
    products = []
    product = SparseMatrix.__matmul__

    def counted(self, dense):
        products.append(dense)
        return product(self, dense)

    gcl = model(layers=3).train()
    monkeypatch.setattr(SparseMatrix, "__matmul__", counted)
    gcl.losses(BATCH)
    assert len(products) == 2 * 3


def test_every_step_has_noise_of_its_own():
    gcl = model().train()
    first, second = (gcl.losses(BATCH)["bpr"].item() for _ in range(2))
    assert first != second


def test_a_layer_that_is_not_there_is_refused():
    with pytest.raises(InputError, match="contrast_layer 3 is above the last of 2 layers"):
        TrainingConfig.load(None, ["model=xsimgcl", "layers=2", "contrast_layer=3"])
