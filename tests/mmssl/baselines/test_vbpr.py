import numpy as np
import pytest
import torch

from tests.mmssl.baselines.by_hand import numbers, sigma, small_problem


def test_scores_and_losses_are_those_of_the_paper():
    problem = small_problem()
    model = problem.model("vbpr", feature_dim=2, embedding_l2=0.3, projection_l2=0.2)
    p = numbers(model)
    features = np.hstack([problem.raw("image"), problem.raw("audio")])
    projection, bias = p["projection.weight"], p["feature_bias.weight"][0]

    def score(u, i):
        return (
            p["item_bias"][i]
            + p["user_id"][u] @ p["item_id"][i]
            + p["user_taste"][u] @ (projection @ features[i])
            + bias @ features[i]
        )

    wanted = np.array([[score(u, i) for i in range(6)] for u in range(4)])
    # Scores are kept in single precision.
    np.testing.assert_allclose(model.score()(torch.arange(4)), wanted, rtol=1e-4, atol=1e-5)
    rows = list(zip(problem.users, problem.positives, problem.negatives, strict=True))
    squares = sum(
        sum((table[u] ** 2).sum() for table in (p["user_id"], p["user_taste"]))
        + sum((p["item_id"][i] ** 2).sum() + p["item_bias"][i] ** 2 for i in (pos, neg))
        for u, pos, neg in rows
    )
    losses = {name: part.item() for name, part in model.losses(problem.batch).items()}
    assert losses == pytest.approx(
        {
            "bpr": np.mean([-np.log(sigma(score(u, i) - score(u, j))) for u, i, j in rows]),
            "embedding_l2": 0.3 * squares / 2 / 4,
            "projection_l2": 0.2 * ((projection**2).sum() + (bias**2).sum()) / 2,
        }
    )


def test_what_has_no_weight_is_no_part_of_the_objective():
    model = small_problem().model("vbpr", embedding_l2=0)
    assert set(model.losses(small_problem().batch)) == {"bpr"}
