"""`propagation: sampled` against `full`: the same where all neighbours are drawn, else unbiased."""

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from mmssl.config import TrainingConfig
from mmssl.data.dataset import ModalityFeatures
from mmssl.data.sampling import Batch
from mmssl.model.mmssl import MMSSL

N_USERS, N_ITEMS = 14, 11
DRAW = np.random.default_rng(5)
OBSERVED = (DRAW.random((N_USERS, N_ITEMS)) < 0.35).astype(np.int8)
OBSERVED[3], OBSERVED[:, 4] = 0, 0  # a user and an item without history
LEARNED = {
    m: sp.csr_array((DRAW.random((N_USERS, N_ITEMS)) < 0.3).astype(np.float32))
    for m in ("image", "audio")
}
FEATURES = {
    m: ModalityFeatures(
        DRAW.normal(size=(N_ITEMS, dim)).astype(np.float32),
        np.arange(N_ITEMS) != absent,
        None,
        "",
    )
    for m, dim, absent in (("image", 5, 2), ("audio", 3, 7))
}
QUIET = (
    "features.dropout=0",
    "adversarial.critic_dropout=[0.0, 0.0]",
    "adversarial.critic_weights=from_vectors",
    "adversarial.critic_items=9",
    "adversarial.critic_users=4",
    "adversarial.weight=0.3",
)


def build(propagation: str, *settings: str, generator=None) -> MMSSL:
    torch.manual_seed(0)
    config = TrainingConfig.load(
        None, [*QUIET, "backbone.embedding_dim=8", f"backbone.propagation={propagation}", *settings]
    )
    model = MMSSL(
        config,
        sp.csr_array(OBSERVED),
        FEATURES,
        generator or torch.Generator().manual_seed(0),
        dtype=torch.float64,
    )
    model.relations.load(LEARNED)
    return model


def batch() -> Batch:
    users = [0, 7, 3, 12, 5]
    positives = [int(np.flatnonzero(OBSERVED[u])[0]) if OBSERVED[u].any() else 4 for u in users]
    return Batch(*(torch.tensor(rows) for rows in (users, positives, [4, 10, 2, 0, 10])))


def gradients(model: MMSSL, parts: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    model.zero_grad()
    sum(parts.values()).backward()
    return {
        name: p.grad.to_dense() if p.grad.is_sparse else p.grad
        for name, p in model.named_parameters()
        if p.grad is not None
    }


@pytest.mark.parametrize(
    "settings",
    [
        (),
        ("backbone.normalisation=symmetric",),
        ("backbone.propagation_order=simultaneous",),
        ("backbone.propagation_order=simultaneous", "backbone.normalisation=symmetric"),
        ("backbone.layers=0",),
        ("backbone.layers=3", "features.missing=learned"),
        ("backbone.final_softmax=true", "features.missing=mean"),
        ("backbone.relation_rate=0",),
        ("backbone.relation_rate=0", "contrast.weight=0", "contrast.anchor=collaborative"),
        ("relations.graph=union", "adversarial.forward=own", "reconstruction.weight=0.5"),
    ],
)
def test_with_all_neighbours_losses_and_gradients_are_those_of_full_propagation(settings):
    """But for l_f, which stands for everybody's: tested below."""
    draws = torch.Generator()
    settings = "optimiser.feature_l2=0", *settings
    full = build("full", *settings, generator=draws)
    sampled = build("sampled", "backbone.fan_outs=[14]", *settings, generator=draws)
    critic, losses = [], []
    for model in (full, sampled):
        draws.manual_seed(3)
        # Both draw the block first; later draws of the neighbourhood must not change it.
        parts = model.critic_losses(batch())
        critic.append({**parts, **gradients(model, parts)})
        draws.manual_seed(3)
        parts = model.losses(batch())
        losses.append({**parts, **gradients(model, parts)})
    for ours, theirs in (critic, losses):
        assert ours.keys() == theirs.keys()
        for name, value in ours.items():
            torch.testing.assert_close(theirs[name], value, rtol=1e-9, atol=1e-12, msg=name)


def test_views_are_unbiased_where_they_are_linear():
    """Features and collaborative vectors, with two of many neighbours drawn."""
    full = build("full", "backbone.relation_rate=0")
    sampled = build("sampled", "backbone.relation_rate=0", "backbone.fan_outs=[2, 1]")
    given = batch()
    with torch.no_grad():
        views = full()
        wanted = [
            views.collaborative.user[given.users],
            views.features["audio"].user[given.users],
            views.collaborative.item[given.positives],
            views.features["image"].item[given.negatives],
            views.relations["image"].user[given.users],
        ]
        draws = []
        for _ in range(1500):
            step = sampled.step_sampler.draw(given)
            estimated = sampled(step.neighbourhood)
            draws.append(
                [
                    estimated.collaborative.user[step.batch.users],
                    estimated.features["audio"].user[step.batch.users],
                    estimated.collaborative.item[step.batch.positives],
                    estimated.features["image"].item[step.batch.negatives],
                    estimated.relations["image"].user[step.batch.users],
                ]
            )
    for number, value in enumerate(wanted):
        values = torch.stack([draw[number] for draw in draws])
        deviation = values.std(dim=0) / len(draws) ** 0.5
        assert values.std(dim=0).max() > 0.01  # there was something to estimate
        assert ((values.mean(dim=0) - value).abs() <= 5 * deviation + 1e-12).all()


def test_only_the_rows_that_take_part_have_a_gradient():
    """Two separate communities: a step of the first never touches the second."""
    halves = sp.csr_array(np.kron(np.eye(2), np.ones((6, 5))))
    config = TrainingConfig.load(
        None,
        [
            "backbone.embedding_dim=8",
            "backbone.propagation=sampled",
            "backbone.propagation_order=simultaneous",
            "backbone.fan_outs=[2]",
            "adversarial.weight=0",
        ],
    )
    features = {
        "image": ModalityFeatures(np.eye(10, dtype=np.float32), np.ones(10, bool), None, "")
    }
    model = MMSSL(config, halves, features, torch.Generator().manual_seed(0))
    parts = model.losses(Batch(torch.tensor([0, 1]), torch.tensor([0, 1]), torch.tensor([2, 3])))
    sum(parts.values()).backward()
    for table, rows in ((model.user_id, 6), (model.item_id, 5)):
        assert table.grad.is_sparse
        touched = table.grad.coalesce().indices()[0].tolist()
        assert 0 < len(touched) <= rows
        assert max(touched) < rows


def test_the_penalty_of_the_features_stands_for_everybodys():
    """Half the squared norms of the step's nodes, times all users (items) over the step's."""
    model = build("sampled", "backbone.fan_outs=[14]", "adversarial.weight=0")
    given = batch()
    part = model.losses(given)["feature_l2"].item()
    views = build("full")()
    users, items = given.users, torch.cat([given.positives, given.negatives]).unique()
    wanted = sum(
        N_USERS * side.user[users].square().sum().item() / len(users)
        + N_ITEMS * side.item[items].square().sum().item() / len(items)
        for side in views.features.values()
    )
    np.testing.assert_allclose(part, 1e-5 * wanted / 2 / N_ITEMS)


def test_scores_and_the_learned_graph_are_those_of_full_propagation():
    full, sampled = build("full").eval(), build("sampled", "backbone.fan_outs=[1]").eval()
    users = torch.arange(N_USERS)
    assert torch.equal(full.score()(users), sampled.score()(users))
    for model in (full, sampled):
        model.refresh_relations()
    for modality, edges in full.relations.edges.items():
        assert (edges != sampled.relations.edges[modality]).nnz == 0
    # And from here on the learned graph is what neighbours are drawn from.
    drawn = sampled.relations.neighbours["image"].of_users
    np.testing.assert_array_equal(drawn.degrees, np.diff(full.relations.edges["image"].indptr))


@pytest.mark.parametrize("order", ["alternating", "simultaneous"])
def test_the_number_of_nodes_is_bounded_by_the_step_and_the_fan_outs(order):
    """Everybody is everybody's neighbour, and yet few take part."""
    crowd = sp.csr_array(np.ones((400, 300), dtype=np.int8))
    config = TrainingConfig.load(
        None,
        [
            "backbone.embedding_dim=8",
            "backbone.propagation=sampled",
            f"backbone.propagation_order={order}",
            "backbone.fan_outs=[3, 2]",
            "backbone.layers=1",
            "adversarial.weight=0",
            "contrast.weight=0",
            "backbone.relation_rate=0",
        ],
    )
    one = {"image": ModalityFeatures(np.eye(300, dtype=np.float32), np.ones(300, bool), None, "")}
    model = MMSSL(config, crowd, one, torch.Generator().manual_seed(0))
    sampler = model.step_sampler.neighbourhoods
    drawn = sampler.draw([torch.tensor([7])], [torch.tensor([8, 9])], {}, False)
    # Features: user 7 x 3 items, and 2 items x 3 users x 2 items.
    assert len(drawn.projected_items) <= 3 + 2 * 3 * 2
    # Layer 0: users of 2 items x 3 and user 7 (none but 7 when items take layer 1's users), items
    # of one user x 3 and the two (of seven users x 2, and the two).
    few = (1, 2 + 7 * 2) if order == "alternating" else (7, 2 + 3)
    assert len(drawn.touched_users) <= few[0]
    assert len(drawn.touched_items) <= few[1]
    assert drawn.graphs.layers[0].to_users.shape[0] == (7 if order == "alternating" else 1)


def test_noisy_views_dropout_and_walks_go_with_it(dataset):
    """Every neighbour drawn, nothing is an estimate: the same losses as from the whole graph."""
    many = "[99, 99, 99, 99, 99]"
    settings = ["noise_contrast.weight=0.5", "walks.weight=1", "optimiser.batches=interactions",
                "backbone.layers=2", "adversarial.weight=0", "relations.graph=observed",
                "features.dropout=0", "backbone.embedding_dim=8"]  # fmt: skip

    def of(*more):
        torch.manual_seed(0)
        config = TrainingConfig.load(None, [*settings, *more])
        model = MMSSL(
            config, dataset.matrix("train"), dataset.features, torch.Generator().manual_seed(1)
        )
        batch = model.sampler(dataset.matrix("train")).draw()
        parts = model.losses(batch)
        sum(parts.values()).backward()
        return model.eval(), parts

    full, whole = of()
    sampled, parts = of("backbone.propagation=sampled", f"backbone.fan_outs={many}")
    torch.testing.assert_close(parts["bpr"], whole["bpr"])
    # Noise is drawn for other rows, so that the contrasts are only alike.
    for side in ("user", "item"):
        name = f"noise_contrast_{side}"
        assert parts[name].item() == pytest.approx(whole[name].item(), rel=0.2)
    users = torch.arange(5)
    torch.testing.assert_close(sampled.score()(users), full.score()(users))
    _, dropped = of(
        "backbone.propagation=sampled", f"backbone.fan_outs={many}", "backbone.dropout=0.5"
    )
    assert dropped["bpr"].item() != pytest.approx(parts["bpr"].item(), rel=1e-6)
