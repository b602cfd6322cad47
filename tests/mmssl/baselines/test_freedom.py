import numpy as np
import pytest
import scipy.sparse as sp
import torch

from extract.errors import InputError
from mmssl.baselines.freedom import thinned
from tests.mmssl.baselines.by_hand import (
    bpr_by_hand,
    lightgcn_by_hand,
    neighbours_by_hand,
    numbers,
    sigma,
    small_problem,
    symmetric_by_hand,
)

SETTINGS = {
    "neighbours": 3,
    "modality_weights": "{image: 3, audio: 1}",
    "feature_weight": 0.7,
    "layers": 2,
    "item_layers": 2,
}


def vectors_by_hand(problem, p, observed):
    graph = np.zeros((6, 6))
    for modality, weight in (("image", 0.75), ("audio", 0.25)):
        present = problem.features[modality].present
        nearest = neighbours_by_hand(problem.raw(modality), present, 3, itself=True, ones=True)
        graph += weight * symmetric_by_hand(nearest)
    users, items = lightgcn_by_hand(observed, p["user_id"], p["item_id"], 2)
    return users, items + graph @ (graph @ p["item_id"])


def test_scores_take_every_interaction():
    problem = small_problem()
    model = problem.model("freedom", **SETTINGS)
    users, items = vectors_by_hand(problem, numbers(model), problem.observed)
    np.testing.assert_allclose(
        model.score()(torch.arange(4)), users @ items.T, rtol=1e-4, atol=1e-5
    )
    model.begin_epoch(1)
    model.eval()
    np.testing.assert_allclose(
        model.score()(torch.arange(4)), users @ items.T, rtol=1e-4, atol=1e-5
    )


def test_losses_are_taken_along_the_interactions_that_are_left():
    problem = small_problem()
    model = problem.model("freedom", pruning=0.5, **SETTINGS)
    p = numbers(model)
    model.begin_epoch(1)
    model.train()
    kept = model.training_state()[0]["thinned/kept"].numpy()
    assert len(kept) == 4
    rows, columns = (side[kept] for side in problem.observed.nonzero())
    left = np.zeros_like(problem.observed)
    left[rows, columns] = 1
    users, items = vectors_by_hand(problem, p, left)
    batch_users = users[problem.users]
    by_features = 0.0
    for number, modality in enumerate(("image", "audio")):
        projected = problem.raw(modality) @ p[f"projections.{number}.linear.weight"].T
        for u, i, j in zip(batch_users, problem.positives, problem.negatives, strict=True):
            # Item 4 lacks the image: its pairs say nothing about it.
            if modality == "audio" or 4 not in (i, j):
                by_features -= np.log(sigma(u @ (projected[i] - projected[j]))) / 4
    losses = {name: part.item() for name, part in model.losses(problem.batch).items()}
    wanted = bpr_by_hand(batch_users, items[problem.positives], items[problem.negatives])
    assert losses == pytest.approx({"bpr": wanted, "feature_bpr": 0.7 * by_features})


def test_an_epoch_draws_anew_and_what_is_left_goes_on_after_a_break():
    model = small_problem().model("freedom", pruning=0.5)
    drawn = []
    for epoch in range(1, 6):
        model.begin_epoch(epoch)
        drawn.append(model.training_state()[0]["thinned/kept"].tolist())
    assert len({tuple(kept) for kept in drawn}) > 1
    other = small_problem().model("freedom", pruning=0.5)
    other.restore_training_state(*model.training_state())
    assert other.training_state()[0]["thinned/kept"].tolist() == drawn[-1]
    batch = small_problem().batch
    assert other.losses(batch)["bpr"].item() == model.losses(batch)["bpr"].item()


def test_edges_are_drawn_one_by_one_with_chances_that_fall_with_the_degrees():
    # Three edges of user 0, one of user 1; items 0 and 1 have two, the others one.
    edges = sp.csr_array(np.array([[1, 1, 1], [1, 0, 0]], dtype=np.float32))
    chances = 1 / np.sqrt(np.array([3 * 2, 3 * 1, 3 * 1, 1 * 2]))
    chances /= chances.sum()
    wanted = {}
    for one in range(4):
        for two in range(4):
            if one != two:
                pair = tuple(sorted((one, two)))
                chance = chances[one] * chances[two] / (1 - chances[one])
                wanted[pair] = wanted.get(pair, 0) + chance
    generator = torch.Generator().manual_seed(0)
    rounds = 20_000
    found = dict.fromkeys(wanted, 0)
    for _ in range(rounds):
        found[tuple(thinned(edges, 0.5, generator).tolist())] += 1 / rounds
    # Five standard deviations of a share of 20,000.
    assert found == pytest.approx(wanted, abs=5 * 0.5 / rounds**0.5)


@pytest.mark.parametrize(("share", "kept"), [(0.0, 10), (0.9, 1), (0.75, 2), (0.99, 1)])
def test_so_many_edges_are_kept(share, kept):
    edges = sp.csr_array(np.ones((2, 5), dtype=np.float32))
    assert len(thinned(edges, share, torch.Generator().manual_seed(0))) == kept


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ("{image: 1}", "weights of image; the modalities are image, audio"),
        ("{image: 0, audio: 0}", "all are 0"),
    ],
)
def test_weights_that_do_not_fit_are_refused(weights, message):
    with pytest.raises(InputError, match=message):
        small_problem().model("freedom", modality_weights=weights)
