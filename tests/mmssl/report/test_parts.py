import numpy as np
import pytest
import torch

from mmssl.evaluation.metrics import per_user_metrics
from mmssl.recommend.explain import Explainer
from mmssl.recommend.model_folder import SavedModel
from mmssl.report.measures import measure
from mmssl.report.parts import contributions, part_rows

CPU = torch.device("cpu")


def test_contributions_are_the_shares_that_explanations_give(saved, dataset):
    users = np.array([3, 7, 20])
    lists = np.array([[0, 5, 9], [23, 1, -1], [4, 6, 2]])
    given = contributions(saved, users, lists, CPU)
    assert list(given) == ["collaborative", "image", "audio"]
    explainer = Explainer(saved)
    for at, user in enumerate(users):
        for place, item in enumerate(lists[at]):
            if item < 0:
                assert all(values[at, place] == 0 for values in given.values())
                continue
            told = explainer.explain(saved.user_ids[user], saved.item_ids[item])
            for part, share in told.shares.items():
                assert given[part][at, place] == pytest.approx(share, abs=1e-5)
            total = sum(values[at, place] for values in given.values())
            assert total == pytest.approx(told.score, abs=1e-5)


def test_recall_without_a_part_is_that_of_the_vectors_without_it(saved, dataset):
    measured = measure(saved, dataset, CPU, 0)
    rows = {row.name: row for row in part_rows(saved, dataset, measured, CPU, 0)}
    train = dataset.matrix("train").toarray()
    val = dataset.matrix("val").toarray()
    users = measured.evaluation.users

    def recall(user_vectors, item_vectors) -> float:
        scores = (user_vectors @ item_vectors.T).numpy().astype(np.float64)
        scores[train > 0] = -np.inf
        order = np.argsort(-scores[users], axis=1, kind="stable")[:, :20]
        hits = np.take_along_axis(val[users], order, axis=1) > 0
        hits &= np.isfinite(np.take_along_axis(scores[users], order, axis=1))
        relevant = val[users].sum(axis=1).astype(np.int64)
        return float(per_user_metrics(hits, relevant, [20])["recall@20"].mean())

    for name, part in saved.vector_parts.items():
        first, second = [each for other, each in saved.vector_parts.items() if other != name]
        without = recall(first.user + second.user, first.item + second.item)
        assert rows[name].without == pytest.approx(without, abs=1e-12)
        assert rows[name].alone == pytest.approx(recall(part.user, part.item), abs=1e-12)
        whole = measured.headline.model.mean
        assert rows[name].loss.mean == pytest.approx(whole - rows[name].without, abs=1e-12)
        assert rows[name].loss.low <= rows[name].loss.mean <= rows[name].loss.high
    assert sum(row.share for row in rows.values()) == pytest.approx(1, abs=1e-5)


def test_a_score_of_one_part_is_not_taken_apart(dataset, trained):
    saved = SavedModel.load(trained("item_knn", dataset))
    measured = measure(saved, dataset, CPU, 0)
    assert part_rows(saved, dataset, measured, CPU, 0) == ()
    # What an item graph sends is read off in the same way.
    scores = dataset.matrix("train") @ saved.item_graph
    given = contributions(saved, np.array([2]), np.array([[5, 6]]), CPU)
    assert given["item graph"][0] == pytest.approx(scores[[2]].toarray()[0, [5, 6]], abs=1e-6)
