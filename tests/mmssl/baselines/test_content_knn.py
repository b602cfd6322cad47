import numpy as np
import pytest
import torch

from mmssl.config import TrainingConfig
from mmssl.models import build_model
from tests.mmssl.baselines.by_hand import neighbours_by_hand, small_problem


@pytest.mark.parametrize("scaling", ["none", "unit"])
def test_the_score_is_the_mean_over_modalities_of_what_a_users_items_are_alike_to(scaling):
    import scipy.sparse as sp

    problem = small_problem()
    config = TrainingConfig.load(
        None, ["model=content_knn", "neighbours=2", f"features.scaling={scaling}"]
    )
    observed = sp.csr_array(problem.observed)
    model = build_model(config, observed, problem.features, torch.Generator())
    graphs = []
    for modality, given in problem.features.items():
        raw = problem.raw(modality)
        if scaling == "unit":
            raw = (raw - raw[given.present].mean(axis=0)) * given.present[:, None]
        graphs.append(neighbours_by_hand(raw, given.present, 2, itself=False))
    graph = (graphs[0] + graphs[1]) / 2
    np.testing.assert_allclose(model.item_graph().toarray(), graph, rtol=1e-5)
    # Item 4 lacks the image: what it sends comes from the sound alone.
    np.testing.assert_allclose(model.item_graph().toarray()[4], graphs[1][4] / 2, rtol=1e-5)
    scores = model.score()(torch.tensor([2, 1])).numpy()
    np.testing.assert_allclose(scores, problem.observed[[2, 1]] @ graph, rtol=1e-5)
    assert model.item_graph().nnz <= 2 * 2 * 6
