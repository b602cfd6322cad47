import numpy as np
import pytest
import scipy.sparse as sp
import torch

from mmssl.config import TrainingConfig
from mmssl.model.official import StepwiseRelations, scrambled_keys, tiled_owners
from mmssl.training.accelerator import make_accelerator
from mmssl.training.checkpoint import load_checkpoint
from mmssl.training.learner import Learner
from mmssl.training.trainer import train

SMALL = (
    *("backbone.embedding_dim=8", "optimiser.batch_users=16", "optimiser.epochs=3"),
    *("relations.schedule=steps", "relations.rate=0.1", "adversarial.critic_items=16"),
)


@pytest.mark.parametrize("shape", [(2, 5, 4, 3), (3, 1, 2, 2), (1, 6, 1, 4)])
def test_keys_are_the_queries_read_in_another_order(shape):
    """A key's place in (M, N, heads, width) is a query's in (heads, M, N, width)."""
    m, n, heads, width = shape
    queries = np.random.default_rng(0).normal(size=shape)
    keys = scrambled_keys(torch.as_tensor(queries))
    assert keys.shape == shape
    for modality, row, head, column in np.ndindex(shape):
        place = np.ravel_multi_index((modality, row, head, column), (m, n, heads, width))
        from_head, from_modality, from_row, _ = np.unravel_index(place, (heads, m, n, width))
        expected = queries[from_modality, from_row, from_head, column]
        assert keys[modality, row, head, column] == expected


def test_users_are_repeated_as_a_whole():
    assert tiled_owners(np.array([7, 3, 5]), 2).tolist() == [7, 3, 5, 7, 3, 5]


def graph(*pairs: tuple[int, int]) -> sp.csr_array:
    rows, columns = zip(*pairs, strict=True)
    return sp.csr_array((np.ones(len(pairs), np.float32), (rows, columns)), shape=(4, 5))


def test_an_epoch_collects_once_uses_it_once_and_then_has_nothing():
    relations = StepwiseRelations(["image"], (4, 5))
    asked = []

    def collect():
        asked.append(len(asked))
        return {"image": graph((len(asked), 0))}

    for epoch in (1, 2):
        relations.begin_epoch()
        assert relations.after_step(collect) is None
        second = relations.after_step(collect)
        assert list(zip(*second["image"].nonzero(), strict=True)) == [(epoch, 0)]
        for _ in range(3):
            later = relations.after_step(collect)
            assert later["image"].nnz == 0
            assert later["image"].shape == (4, 5)
    assert asked == [0, 1]


def test_an_epoch_of_one_step_leaves_nothing_for_the_next():
    relations = StepwiseRelations(["image"], (4, 5))
    relations.after_step(lambda: {"image": graph((0, 0))})
    relations.begin_epoch()
    relations.after_step(lambda: {"image": graph((3, 4))})
    second = relations.after_step(dict)
    assert list(zip(*second["image"].nonzero(), strict=True)) == [(3, 4)]


def test_what_the_first_step_collected_is_part_of_the_state(dataset):
    """Stopped between the steps that collect and that use."""
    first, second = (
        Learner(
            TrainingConfig.load(None, [*SMALL, f"seed={seed}"]),
            dataset.matrix("train"),
            dataset.features,
            make_accelerator("cpu", "full"),
        )
        for seed in (1, 2)
    )
    first.step(first.sampler.draw())
    live, facts = first.state()
    tensors = {name: tensor.clone() for name, tensor in live.items()}
    going_on = following_steps(first)
    second.restore(tensors, facts)
    assert following_steps(second) == going_on
    edges = [pairs["image"] for _, pairs in going_on]
    assert len(edges[0]) > 0
    assert edges[1:] == [[], []]


def following_steps(learner: Learner) -> list[tuple[dict, dict]]:
    """Values and learned edges after each of three steps more."""
    done = []
    for _ in range(3):
        values = learner.step(learner.sampler.draw())
        graphs = learner.model.relations.edges
        done.append((values, {m: np.argwhere(g.toarray()).tolist() for m, g in graphs.items()}))
    return done


@pytest.mark.parametrize("stop_after", [1, 2])
def test_an_interrupted_run_of_the_published_schedule_goes_on_to_the_same_bits(
    dataset, tmp_path, stop_after
):
    config = TrainingConfig.load(None, SMALL)
    whole = train(config, dataset, tmp_path / "whole")
    reported = []

    def interrupt(line):
        reported.append(line)
        if len(reported) == stop_after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config, dataset, tmp_path / "parts", report=interrupt)
    resumed = train(config, dataset, tmp_path / "parts")
    assert resumed.metrics == whole.metrics
    theirs, ours = (
        load_checkpoint(run / "checkpoints" / "last")[0] for run in (whole.path, resumed.path)
    )
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
