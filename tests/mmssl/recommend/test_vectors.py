from dataclasses import replace

import numpy as np
import pytest
from scipy.sparse import csr_array

from extract.errors import InputError
from mmssl.recommend.index import digest_of
from mmssl.recommend.vectors import index_of, model_vectors, sample_queries

GRAPH = csr_array(np.eye(5, dtype=np.float32))


def test_a_model_s_items_are_indexed_and_its_trained_users_ask(saved):
    index = index_of(saved, "flat")
    assert index.item_ids == saved.item_ids
    assert index.vectors_digest == digest_of(saved.item_vectors.numpy())
    queries = sample_queries(saved)
    # 'd/4' has no training interaction: its vector means nothing.
    assert (queries == saved.user_vectors[:3].numpy()).all()
    assert index.recall(queries, 3) == 1


def test_the_same_users_are_drawn_every_time_and_others_by_another_seed(saved):
    few = [sample_queries(saved, count=2, seed=seed).tolist() for seed in range(6)]
    assert all(len(queries) == 2 for queries in few)
    assert few == [sample_queries(saved, count=2, seed=seed).tolist() for seed in range(6)]
    assert any(queries != few[0] for queries in few)


def test_a_model_without_vectors_is_one_line(saved):
    alone = replace(saved, user_vectors=None, item_vectors=None, item_graph=GRAPH)
    for vectors_only in (False, True):
        with pytest.raises(InputError, match="has no vectors"):
            model_vectors(alone, vectors_only=vectors_only)


def test_vectors_that_are_not_the_whole_score_have_to_be_asked_for(saved):
    both = replace(saved, item_graph=GRAPH)
    with pytest.raises(InputError, match="--vectors-only"):
        index_of(both)
    _, items = model_vectors(both, vectors_only=True)
    assert (items == saved.item_vectors.numpy()).all()
    assert index_of(both, vectors_only=True).items == 5
