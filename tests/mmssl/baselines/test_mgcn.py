import numpy as np
import pytest
import torch

from tests.mmssl.baselines.by_hand import (
    bpr_by_hand,
    lightgcn_by_hand,
    neighbours_by_hand,
    numbers,
    sigma,
    small_problem,
    symmetric_by_hand,
)


def views_by_hand(problem, p, item_layers):
    """E-bar_id and E_mul of users and items, one node after the other."""
    behaviour = np.vstack(lightgcn_by_hand(problem.observed, p["user_id"], p["item_id"], 2))
    rows, columns = problem.observed.sum(axis=1), problem.observed.sum(axis=0)
    gathering = problem.observed / np.sqrt(np.outer(rows, columns))
    media = []
    for number, modality in enumerate(("image", "audio")):
        present = problem.features[modality].present
        nearest = neighbours_by_hand(problem.raw(modality), present, 3, itself=True)
        graph = symmetric_by_hand(nearest)
        linear = f"projections.{number}.linear"
        own = problem.raw(modality) @ p[f"{linear}.weight"].T + p[f"{linear}.bias"]
        own = own * present[:, None]
        gate = sigma(own @ p[f"gates.{number}.weight"].T + p[f"gates.{number}.bias"])
        items = np.linalg.matrix_power(graph, item_layers) @ (p["item_id"] * gate)
        media.append(np.vstack([gathering @ items, items]))
    fused = np.zeros_like(behaviour)
    for node in range(len(fused)):
        keys = [
            np.exp(
                p["query.weight"][0]
                @ np.tanh(p["attention.weight"] @ m[node] + p["attention.bias"])
            )
            for m in media
        ]
        shared = sum(key * m[node] for key, m in zip(keys, media, strict=True)) / sum(keys)
        fused[node] = shared
        for number, m in enumerate(media):
            at = f"preferences.{number}"
            wanted = sigma(p[f"{at}.weight"] @ behaviour[node] + p[f"{at}.bias"])
            fused[node] += (m[node] - shared) * wanted / 2
    return behaviour, fused


def contrast_by_hand(media, behaviour, rows, temperature):
    def alike(i, j):
        norms = np.linalg.norm(media[i]) * np.linalg.norm(behaviour[j])
        return np.exp(media[i] @ behaviour[j] / norms / temperature)

    return np.mean([-np.log(alike(i, i) / sum(alike(i, j) for j in rows)) for i in rows])


@pytest.mark.parametrize("item_layers", [1, 2])
def test_scores_and_losses_are_those_of_the_paper(item_layers):
    problem = small_problem()
    model = problem.model(
        "mgcn",
        neighbours=3,
        item_layers=item_layers,
        contrast_weight=0.4,
        temperature=0.3,
        embedding_l2=0.2,
    )
    behaviour, media = views_by_hand(problem, numbers(model), item_layers)
    users, items = (behaviour + media)[:4], (behaviour + media)[4:]
    np.testing.assert_allclose(
        model.score()(torch.arange(4)), users @ items.T, rtol=1e-4, atol=1e-5
    )
    triple = users[problem.users], items[problem.positives], items[problem.negatives]
    losses = {name: part.item() for name, part in model.losses(problem.batch).items()}
    # User 1 stands in the batch twice, and is one of three.
    assert losses == pytest.approx(
        {
            "bpr": bpr_by_hand(*triple),
            "contrast": 0.4
            * (
                contrast_by_hand(media[:4], behaviour[:4], [0, 1, 2], 0.3)
                + contrast_by_hand(media[4:], behaviour[4:], [1, 2, 3, 4], 0.3)
            ),
            "embedding_l2": 0.2 * sum((side**2).sum() for side in triple) / 2 / 4,
        }
    )


def test_what_has_no_weight_is_no_part_of_the_objective():
    model = small_problem().model("mgcn", contrast_weight=0, embedding_l2=0)
    assert set(model.losses(small_problem().batch)) == {"bpr"}
