import numpy as np
import torch

from mmssl.evaluation.ranking import top_k
from mmssl.report.cards import ItemCards
from mmssl.report.examples import choose_users, example_users

CPU = torch.device("cpu")


def test_the_most_and_the_median_active_are_shown_and_none_without_training():
    activity = np.array([3, 0, 9, 5, 9, 1, 4])
    chosen = choose_users(activity, np.array([0, 1, 2, 3, 5, 6]), seed=0)
    assert [row for row, _ in chosen[:2]] == [2, 6]
    assert len(chosen) == len(dict(chosen)) == 4
    assert 1 not in dict(chosen)
    assert 4 not in dict(chosen)
    assert choose_users(activity, np.array([0, 1, 2, 3, 5, 6]), seed=0) == chosen
    assert choose_users(activity, np.array([1]), seed=0) == []


def test_lists_are_those_of_the_measurement_and_hits_are_validation_items(saved, dataset):
    users = list(range(len(dataset.user_ids)))
    shown = example_users(saved, dataset, ItemCards(None), [(u, "all") for u in users], CPU)
    train, val = dataset.matrix("train"), dataset.matrix("val").toarray()
    lists, _ = top_k(saved.score(CPU), np.array(users), train, 12)
    assert sum(user.hits for user in shown) > 0
    for row, user in enumerate(shown):
        assert [item.id for item in user.recommended] == [saved.item_ids[i] for i in lists[row]]
        assert [item.hit for item in user.recommended] == (val[row, lists[row]] > 0).tolist()
        assert user.interactions == len(user.history) == train[[row]].nnz
        for item in user.recommended:
            assert abs(sum(share.width for share in item.shares) - 1) < 1e-6
            assert [share.part for share in item.shares] == ["collaborative", "image", "audio"]


def test_a_user_without_training_gets_what_is_popular_without_shares(dataset, saved):
    from dataclasses import replace

    # Of the first user all training interactions are taken away.
    keep = dataset.train.users != 0
    cold = replace(
        dataset,
        train=replace(
            dataset.train, users=dataset.train.users[keep], items=dataset.train.items[keep]
        ),
    )
    (user,) = example_users(saved, cold, ItemCards(None), [(0, "named")], CPU)
    counts = np.bincount(cold.train.items, minlength=24)
    best = np.argsort(-counts, kind="stable")[:12]
    assert user.cold
    assert user.history == ()
    assert [item.id for item in user.recommended] == [saved.item_ids[i] for i in best]
    assert all(item.shares == () for item in user.recommended)
