import numpy as np
import pytest
import torch

from mmssl.config import TrainingConfig
from mmssl.training.learner import TrainingDivergedError
from mmssl.training.trainer import train
from tests.mmssl.baselines.by_hand import (
    bpr_by_hand,
    lightgcn_by_hand,
    neighbours_by_hand,
    numbers,
    small_problem,
    symmetric_by_hand,
)

SETTINGS = {"neighbours": 3, "feature_dim": 2, "skip_weight": 0.7, "embedding_l2": 0.2}


def item_graph_by_hand(problem, p):
    alpha = np.exp(p["importance"]) / np.exp(p["importance"]).sum()
    graph = np.zeros((6, 6))
    for number, modality in enumerate(("image", "audio")):
        present, raw = problem.features[modality].present, problem.raw(modality)
        linear = f"projections.{number}.linear"
        own = raw @ p[f"{linear}.weight"].T + p[f"{linear}.bias"]
        for part, vectors in ((0.7, raw), (0.3, own)):
            nearest = neighbours_by_hand(vectors, present, 3, itself=True)
            graph += alpha[number] * part * symmetric_by_hand(nearest)
    return graph


def vectors_by_hand(problem, p, graph, layers=2, item_layers=1):
    users, items = lightgcn_by_hand(problem.observed, p["user_id"], p["item_id"], layers)
    carried = np.linalg.matrix_power(graph, item_layers) @ p["item_id"]
    return users, items + carried / np.linalg.norm(carried, axis=1, keepdims=True)


def refreshed(**settings):
    problem = small_problem()
    model = problem.model("lattice", **SETTINGS, **settings)
    # Parameters were drawn anew since it was built.
    model.end_epoch(0)
    return problem, model


@pytest.mark.parametrize(("layers", "item_layers"), [(2, 1), (0, 2)])
def test_scores_and_losses_are_those_of_the_paper(layers, item_layers):
    problem, model = refreshed(layers=layers, item_layers=item_layers)
    p = numbers(model)
    graph = item_graph_by_hand(problem, p)
    users, items = vectors_by_hand(problem, p, graph, layers, item_layers)
    np.testing.assert_allclose(
        model.score()(torch.arange(4)), users @ items.T, rtol=1e-4, atol=1e-5
    )
    triple = users[problem.users], items[problem.positives], items[problem.negatives]
    wanted = {
        "bpr": bpr_by_hand(*triple),
        "embedding_l2": 0.2 * sum((side**2).sum() for side in triple) / 2 / 4,
    }
    model.begin_epoch(1)
    for _ in ("the step that learns the graph", "one that does not"):
        losses = {name: part.item() for name, part in model.losses(problem.batch).items()}
        assert losses == pytest.approx(wanted)


def objective(problem, model):
    return sum(model.losses(problem.batch).values())


@pytest.mark.parametrize("item_layers", [1, 2])
def test_the_gradient_through_the_graph_is_that_of_its_numbers(item_layers):
    problem, model = refreshed(item_layers=item_layers)
    model.begin_epoch(1)
    objective(problem, model).backward()
    step = 1e-6
    for name, parameter in model.named_parameters():
        for at in np.ndindex(parameter.shape):
            values = []
            for sign in (1, -1):
                p = {key: value.copy() for key, value in numbers(model).items()}
                p[name][at] += sign * step
                users, items = vectors_by_hand(
                    problem, p, item_graph_by_hand(problem, p), 2, item_layers
                )
                triple = users[problem.users], items[problem.positives], items[problem.negatives]
                squares = sum((side**2).sum() for side in triple)
                values.append(bpr_by_hand(*triple) + 0.2 * squares / 2 / 4)
            slope = (values[0] - values[1]) / (2 * step)
            assert parameter.grad[at].item() == pytest.approx(slope, abs=1e-7), (name, at)


def test_the_first_step_of_an_epoch_alone_learns_the_graph():
    problem, model = refreshed()
    learners = ["importance", "projections.0.linear.weight", "projections.1.linear.bias"]
    for epoch in (1, 2):
        model.begin_epoch(epoch)
        for step in range(3):
            model.zero_grad()
            objective(problem, model).backward()
            reached = [model.get_parameter(name).grad is not None for name in learners]
            assert reached == [step == 0] * 3
            assert model.item_id.grad is not None
        model.end_epoch(epoch)


def test_the_graph_waits_for_the_epochs_end():
    problem, model = refreshed()
    model.begin_epoch(1)
    model.losses(problem.batch)
    before = model.weights.clone(), model.neighbours.clone(), model.shares.clone()
    with torch.no_grad():
        for parameter in (*model.projections.parameters(), model.importance):
            parameter.copy_(torch.randn_like(parameter))
    model.losses(problem.batch)
    after = model.weights, model.neighbours, model.shares
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))
    model.end_epoch(1)
    p = numbers(model)
    users, items = vectors_by_hand(problem, p, item_graph_by_hand(problem, p))
    model.eval()
    np.testing.assert_allclose(
        model.score()(torch.arange(4)), users @ items.T, rtol=1e-4, atol=1e-5
    )


def test_projections_that_blow_up_in_an_epochs_only_step_end_training_in_one_line(
    dataset, tmp_path
):
    # The decay of the one step multiplies everything by -3e38.
    optimiser = {"learning_rate": 1e20, "weight_decay": 3e18, "batch_size": 4096}
    settings = ["feature_dim=1", *(f"optimiser.{key}={value}" for key, value in optimiser.items())]
    config = TrainingConfig.load(None, ["model=lattice", *settings])
    with pytest.raises(TrainingDivergedError, match=r"epoch 1: .*; lower optimiser\.learning_rate"):
        train(config, dataset, tmp_path / "run", device="cpu")
