from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from extract.errors import InputError
from mmssl.recommend.explain import Explainer
from mmssl.recommend.model_files import ItemFeatures
from mmssl.recommend.recommender import Recommender
from mmssl.vectors import TwoSided


def test_a_part_has_its_own_product_and_half_of_the_mixed_ones(saved):
    """User a = (1, 0) + (0, 2) and item i1 = (3, 1) + (-1, 4), by hand."""
    user, item = torch.zeros(4, 2), torch.zeros(5, 2)
    user[0], item[1] = torch.tensor([1.0, 2.0]), torch.tensor([2.0, 5.0])
    image = TwoSided(torch.zeros(4, 2), torch.zeros(5, 2))
    image.user[0], image.item[1] = torch.tensor([0.0, 2.0]), torch.tensor([-1.0, 4.0])
    model = replace(saved, user_vectors=user, item_vectors=item, modality_parts={"image": image})
    found = Explainer(model).explain("a", "i1")
    # Own products: (1, 0).(3, 1) = 3 and (0, 2).(-1, 4) = 8; mixed: (1, 0).(-1, 4) = -1 and
    # (0, 2).(3, 1) = 2, half of which is 0.5.
    assert found.shares == {"collaborative": pytest.approx(3.5), "image": pytest.approx(8.5)}
    assert found.score == pytest.approx(12)
    assert found.nearest == {}
    assert found.lines() == [
        "user 'a', item 'i1': score 12.0000",
        "  collaborative  +3.5000",
        "  image          +8.5000",
    ]


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10**6), kind=st.sampled_from(["vectors", "both", "graph"]))
def test_shares_sum_to_the_score_that_is_listed(make_model, seed, kind):
    model = make_model(seed, graph=kind != "vectors", vectors=kind != "graph")
    explainer = Explainer(model)
    listed = Recommender(model, "cpu").recommend(["u0", "u5"], 10, exclude_seen=False)
    assert len(listed) == 20
    for row in listed.iter_rows(named=True):
        found = explainer.explain(row["user_id"], row["item_id"])
        assert tuple(found.shares) == model.part_names
        assert sum(found.shares.values()) == pytest.approx(row["score"], abs=1e-5)
        assert found.score == pytest.approx(row["score"], abs=1e-5)


def test_an_item_graph_has_what_the_history_sends(saved):
    weights = np.arange(25, dtype=np.float32).reshape(5, 5)
    model = replace(saved, item_graph=csr_array(weights))
    # User c has seen i2 and 007, rows 2 and 3; item 7 is row 4.
    found = Explainer(model).explain("c", "7")
    assert found.shares["item graph"] == pytest.approx(weights[2, 4] + weights[3, 4])
    # The model does not tell what media brought: (1, 1).(4, 0.5).
    assert found.shares["model"] == pytest.approx(4.5)
    assert found.score == pytest.approx(4.5 + 14 + 19)


def test_the_nearest_of_the_history_are_named_without_the_item_itself(saved):
    image = np.array([[0, 1], [1, 0], [1, 1], [2, 1], [-3, -5]], dtype=np.float32)
    audio = np.array([True, True, False, False, False])
    model = replace(
        saved,
        features={
            "image": ItemFeatures(image, np.ones(5, dtype=np.bool_)),
            "audio": ItemFeatures(np.eye(5, 2, dtype=np.float32) * audio[:, None], audio),
        },
    )
    # User ü.2 has seen i0, i1 and 007 in training; i2, of the validation, is no part of it.
    centred = image - image.mean(axis=0)
    units = centred / np.linalg.norm(centred, axis=1, keepdims=True)

    def wanted(item, rows):
        pairs = sorted(((float(units[item] @ units[row]), row) for row in rows), reverse=True)
        return [(saved.item_ids[row], pytest.approx(value, abs=1e-6)) for value, row in pairs]

    explainer = Explainer(model)
    found = explainer.explain("ü.2", "7")
    assert found.nearest["image"] == wanted(4, [0, 1, 3])
    assert found.nearest["audio"] == []
    assert explainer.explain("ü.2", "7", nearest=2).nearest["image"] == wanted(4, [0, 1, 3])[:2]
    assert explainer.explain("ü.2", "7", nearest=0).nearest["image"] == []
    of_known = explainer.explain("ü.2", "i1")
    assert of_known.nearest["image"] == wanted(1, [0, 3])
    assert [item for item, _ in of_known.nearest["audio"]] == ["i0"]
    lines = found.lines()
    assert lines[0] == "user 'ü.2', item '7': score 0.5000"
    assert lines[1] == "  model  +0.5000"
    assert lines[2].startswith("of the user's items nearest in image: 'i")
    assert lines[3] == "of the user's items nearest in audio: none has any"
    # The whole history is the item itself.
    assert explainer.explain("a", "i0").nearest == {"image": [], "audio": []}


def test_who_and_what_cannot_be_explained_is_refused(saved):
    explainer = Explainer(saved)
    for user, item, message in (
        ("d/4", "i0", "user 'd/4' has no training interaction and is given the most popular"),
        ("nobody", "i0", "1 unknown user id: 'nobody'"),
        ("a", "nothing", "1 unknown item id: 'nothing'"),
    ):
        with pytest.raises(InputError, match=message):
            explainer.explain(user, item)
