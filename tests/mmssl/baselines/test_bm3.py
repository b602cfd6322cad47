from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.mmssl.baselines.by_hand import lightgcn_by_hand, numbers, small_problem


def away(one, other):
    """C of the paper."""
    return -(one @ other) / (np.linalg.norm(one) * np.linalg.norm(other))


def by_hand(problem, p):
    users, items = lightgcn_by_hand(problem.observed, p["user_id"], p["item_id"], 2)
    items = items + p["item_id"]
    own = {
        m: problem.raw(m) @ p[f"projections.{number}.linear.weight"].T
        + p[f"projections.{number}.linear.bias"]
        for number, m in enumerate(("image", "audio"))
    }
    return users, items, own, lambda h: h @ p["predictor.weight"].T + p["predictor.bias"]


def test_scores_and_losses_are_those_of_the_paper():
    problem = small_problem()
    settings = {"alignment_weight": 0.5, "mask_weight": 2, "embedding_l2": 0.3, "dropout": 0}
    model = problem.model("bm3", layers=2, **settings)
    users, items, own, predict = by_hand(problem, numbers(model))
    wanted = predict(users) @ predict(items).T
    np.testing.assert_allclose(model.score()(torch.arange(4)), wanted, rtol=1e-4, atol=1e-5)
    pairs = list(zip(problem.users, problem.positives, strict=True))
    # Item 4 lacks the image.
    with_modality = {
        "image": [i for _, i in pairs if i != 4],
        "audio": [i for _, i in pairs],
    }
    model.train()
    losses = {name: part.item() for name, part in model.losses(problem.batch).items()}
    assert losses == pytest.approx(
        {
            "reconstruction": np.mean(
                [
                    away(predict(users[u]), items[i]) + away(predict(items[i]), users[u])
                    for u, i in pairs
                ]
            ),
            "alignment": 0.5
            * sum(
                np.mean([away(predict(own[m][i]), items[i]) for i in rows])
                for m, rows in with_modality.items()
            ),
            "mask": 2
            * sum(
                np.mean([away(predict(own[m][i]), own[m][i]) for i in rows])
                for m, rows in with_modality.items()
            ),
            "embedding_l2": 0.3
            * np.mean([(users[u] ** 2).sum() + (items[i] ** 2).sum() for u, i in pairs]),
        }
    )


def test_negatives_are_not_looked_at():
    problem = small_problem()
    model = problem.model("bm3", dropout=0)
    other = replace(problem, negatives=problem.negatives[::-1].copy())
    mine, theirs = model.losses(problem.batch), model.losses(other.batch)
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)


def test_no_gradient_flows_through_a_target():
    """The derivative by numbers, with the targets held fast."""
    problem = small_problem()
    model = problem.model("bm3", layers=2, alignment_weight=0, mask_weight=0, embedding_l2=0)
    model.eval()
    model.losses(problem.batch)["reconstruction"].backward()
    p = numbers(model)
    users, items, _, _ = by_hand(problem, p)
    pairs = list(zip(problem.users, problem.positives, strict=True))
    step = 1e-6
    for name in ("user_id", "item_id"):
        for at in np.ndindex(p[name].shape):
            values = []
            for sign in (1, -1):
                moved = {**p, name: p[name].copy()}
                moved[name][at] += sign * step
                us, its, _, predict = by_hand(problem, moved)
                values.append(
                    np.mean(
                        [
                            away(predict(us[u]), items[i]) + away(predict(its[i]), users[u])
                            for u, i in pairs
                        ]
                    )
                )
            slope = (values[0] - values[1]) / (2 * step)
            assert model.get_parameter(name).grad[at].item() == pytest.approx(slope, abs=1e-7)


def test_views_are_dropped_in_training_alone():
    problem = small_problem()
    model = problem.model("bm3", dropout=0.5)
    model.train()
    drawn = {model.losses(problem.batch)["reconstruction"].item() for _ in range(5)}
    assert len(drawn) > 1
    model.eval()
    assert len({model.losses(problem.batch)["reconstruction"].item() for _ in range(5)}) == 1
