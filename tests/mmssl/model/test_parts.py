"""The parts of the vectors against the closed form of their recursion, with dense matrices."""

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from mmssl.config import TrainingConfig
from mmssl.data.dataset import ModalityFeatures
from mmssl.model.attention import CrossModalAttention
from mmssl.model.mmssl import MMSSL

DRAW = np.random.default_rng(5)
OBSERVED = (DRAW.random((7, 9)) < 0.4).astype(np.int8)
OBSERVED[3], OBSERVED[:, 4] = 0, 0
"""A user and an item that nobody knows."""
GIVEN = {}
for name, dim, absent in (("image", 4, ()), ("audio", 3, (0, 5)), ("text", 5, (5, 8))):
    vectors = DRAW.normal(size=(9, dim)).astype(np.float32)
    present = np.ones(9, dtype=bool)
    vectors[list(absent)], present[list(absent)] = 0, False
    GIVEN[name] = ModalityFeatures(vectors, present, None, "")


def build(*settings: str, modalities=("image", "audio", "text")) -> MMSSL:
    torch.manual_seed(0)
    config = TrainingConfig.load(
        None, ["backbone.embedding_dim=8", "relations.rate=0.25", "neighbours.items=3", *settings]
    )
    given = {m: GIVEN[m] for m in modalities}
    generator = torch.Generator().manual_seed(0)
    model = MMSSL(config, sp.csr_array(OBSERVED), given, generator).eval()
    # Otherwise every modality has the same relations, and shares could not be told apart.
    model.refresh_relations()
    return model


def array(tensor) -> np.ndarray:
    return tensor.detach().double().numpy()


def both(side) -> np.ndarray:
    """Users above items, (U + I, d)."""
    return np.concatenate([array(side.user), array(side.item)])


def units(rows: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 1e-12)


def inverse_roots(degrees: np.ndarray) -> np.ndarray:
    return np.divide(1, np.sqrt(degrees), out=np.zeros(len(degrees)), where=degrees > 0)


def attention_shares(model: MMSSL, relations: list[np.ndarray]) -> list[np.ndarray]:
    """Z of equation 9 row by row, head by head, kept apart by the modality of the value."""
    d, heads = relations[0].shape[1], model.attention.heads
    w_q, w_k, w_cat = (
        array(w) for w in (model.attention.w_q, model.attention.w_k, model.attention.w_cat)
    )
    shares = [np.zeros_like(r) for r in relations]
    for row in range(len(relations[0])):
        for head in range(heads):
            part = slice(head * d // heads, (head + 1) * d // heads)
            out = w_cat[head * d : (head + 1) * d]
            for query in relations:
                scores = [
                    (query[row] @ w_q)[part] @ (key[row] @ w_k)[part] / (d / heads) ** 0.5
                    for key in relations
                ]
                weights = np.exp(scores) / np.exp(scores).sum()
                for share, weight, value in zip(shares, weights, relations, strict=True):
                    share[row] += weight * value[row] @ out / len(relations)
    return shares


def expected(model: MMSSL) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """By modality, and what is left: users above items.

    One layer is x' = T x; of T the item graphs' off-diagonal entries B_m make media of whatever
    they carry, and the rest, K, keeps each part what it was. So after l layers part m is
    K^l s_m + sum_j K^(l-1-j) B_m T^j x_0.
    """
    backbone, views = model.config.backbone, model()
    n_users, n_items = OBSERVED.shape
    size = n_users + n_items
    users, items = slice(0, n_users), slice(n_users, size)
    to_users = inverse_roots(OBSERVED.sum(axis=1))[:, None] * OBSERVED
    to_items = inverse_roots(OBSERVED.sum(axis=0))[:, None] * OBSERVED.T
    if backbone.normalisation == "symmetric":
        to_users = to_users * inverse_roots(OBSERVED.sum(axis=0))
        to_items = to_items * inverse_roots(OBSERVED.sum(axis=1))
    beside = model.side_graphs
    s_users = np.zeros((n_users, n_users))
    if beside.users is not None:
        s_users = array(beside.users @ torch.eye(n_users))
    media = {m: np.zeros((n_items, n_items)) for m in model.modalities}
    for m, graph in beside.item_graphs.items():
        media[m] = graph.toarray().astype(np.float64)

    keeping, made = np.zeros((size, size)), {}
    keeping[users, users], keeping[users, items] = s_users, to_users
    keeping[items, users] = to_items
    if backbone.propagation_order == "alternating":
        keeping[items, users], keeping[items, items] = to_items @ s_users, to_items @ to_users
    keeping[items, items] += np.diag(np.diag(sum(media.values())))
    for m, graph in media.items():
        made[m] = np.zeros((size, size))
        made[m][items, items] = graph - np.diag(np.diag(graph))
    whole = keeping + sum(made.values())

    ids = np.concatenate([array(model.user_id), array(model.item_id)])
    start = {m: np.zeros_like(ids) for m in model.modalities}
    if backbone.relation_rate:
        stacked = [both(views.relations[m]) for m in model.modalities]
        shares = attention_shares(model, stacked)
        lengths = np.linalg.norm(sum(shares), axis=1, keepdims=True)
        for m, share in zip(model.modalities, shares, strict=True):
            start[m] = np.divide(
                backbone.relation_rate * share,
                lengths,
                out=np.zeros_like(share),
                where=lengths > 1e-12,
            )
    x_0 = ids + sum(start.values())
    power = np.linalg.matrix_power
    parts = {}
    for m in model.modalities:
        layers = [
            power(keeping, layer) @ start[m]
            + sum(
                power(keeping, layer - 1 - j) @ made[m] @ power(whole, j) @ x_0
                for j in range(layer)
            )
            for layer in range(backbone.layers + 1)
        ]
        parts[m] = sum(layers) / len(layers)
        parts[m] = parts[m] + backbone.feature_rate * units(both(views.features[m]))
    counts = range(backbone.layers + 1)
    rest = sum(power(keeping, layer) @ ids for layer in counts) / len(counts)
    return parts, rest


@pytest.mark.parametrize("order", ["alternating", "simultaneous"])
@pytest.mark.parametrize("normalisation", ["row", "symmetric"])
@pytest.mark.parametrize(
    "settings",
    [
        (),
        ("backbone.layers=3", "backbone.feature_rate=0"),
        ("backbone.layers=0",),
        ("neighbours.item_rate=0.8", "backbone.layers=3"),
        ("neighbours.item_rate=0.8", "backbone.relation_rate=0", "backbone.feature_rate=0"),
        ("neighbours.user_rate=0.7", "neighbours.users=2"),
        ("neighbours.user_rate=0.7", "neighbours.users=2", "neighbours.item_rate=1.5"),
        ("features.missing=learned", "neighbours.item_rate=0.3"),
    ],
)
def test_parts_are_those_of_the_closed_form_and_sum_to_the_vectors(order, normalisation, settings):
    model = build(
        f"backbone.propagation_order={order}", f"backbone.normalisation={normalisation}", *settings
    )
    parts, (wanted, rest) = model.modality_parts(), expected(model)
    assert list(parts) == list(model.modalities) == ["image", "audio", "text"]
    for m, part in parts.items():
        assert part.user.dtype == part.item.dtype == torch.float32
        np.testing.assert_allclose(both(part), wanted[m], atol=3e-6, rtol=1e-5)
        # Not one of them is nothing, so that the comparison can fail.
        assert np.abs(wanted[m]).max() > 0.01
    user, item = model.embeddings()
    summed = sum(both(part) for part in parts.values()) + rest
    np.testing.assert_allclose(np.concatenate([array(user), array(item)]), summed, atol=3e-6)


def test_one_modality_has_the_parts_of_one_modality():
    model = build("neighbours.item_rate=0.8", modalities=("audio",))
    wanted, _ = expected(model)
    np.testing.assert_allclose(
        both(model.modality_parts()["audio"]), wanted["audio"], atol=3e-6, rtol=1e-5
    )


def test_without_media_in_the_score_the_parts_are_nothing():
    model = build("backbone.relation_rate=0", "backbone.feature_rate=0")
    for part in model.modality_parts().values():
        assert part.user.shape == (7, 8)
        assert part.item.shape == (9, 8)
        assert not part.user.any()
        assert not part.item.any()


def test_an_item_without_the_modality_has_nothing_of_it_where_features_alone_bring_media():
    """Item 4 has no user, so that nothing reaches it but its own neighbours in media."""
    model = build("backbone.relation_rate=0", "backbone.feature_rate=0", "neighbours.item_rate=1")
    parts = model.modality_parts()
    assert not parts["audio"].item[4].equal(torch.zeros(8))
    lacking = build(
        "backbone.relation_rate=0",
        "backbone.feature_rate=0",
        "neighbours.item_rate=1",
        "backbone.propagation_order=simultaneous",
        "backbone.layers=1",
    ).modality_parts()
    assert not lacking["audio"].item[[0, 5]].any()
    assert not lacking["text"].item[[5, 8]].any()
    assert lacking["image"].item.any(dim=1).all()


def test_under_a_final_softmax_the_direct_way_alone_is_told():
    model = build("backbone.final_softmax=true", "neighbours.item_rate=0.5")
    features = model().features
    for m, part in model.modality_parts().items():
        np.testing.assert_allclose(both(part), 0.55 * units(both(features[m])), atol=1e-6)


def test_telling_the_parts_leaves_the_mode_and_the_vectors_as_they_were():
    model = build("features.dropout=0.9").train()
    first = model.modality_parts()
    assert model.training
    second = model.modality_parts()
    for m in first:
        assert first[m].user.equal(second[m].user)
        assert first[m].item.equal(second[m].item)
        assert not first[m].user.requires_grad


@pytest.mark.parametrize("kind", ["paper", "identity", "scrambled"])
def test_shares_of_the_attention_sum_to_what_it_fuses(kind):
    torch.manual_seed(1)
    attention = CrossModalAttention(8, 2, kind)
    relations = [torch.randn(6, 8) for _ in range(3)]
    shares = attention.by_modality(relations)
    assert len(shares) == 3
    torch.testing.assert_close(sum(shares), attention(relations))
    if kind == "identity":
        for share, relation in zip(shares, relations, strict=True):
            wanted = torch.cat([relation, relation], dim=1) @ attention.w_cat / 3
            torch.testing.assert_close(share, wanted)
