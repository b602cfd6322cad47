import tracemalloc

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from extract.transform.moments import moments


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20)
@given(
    n=st.integers(1, 30),
    rows_per_part=st.integers(1, 9),
    dim=st.integers(1, 5),
    offset=st.sampled_from([0, 1e4]),
    seed=st.integers(0, 99),
)
def test_mean_and_covariance_are_numpys_over_the_ok_items(
    tmp_path_factory, fill_store, n, rows_per_part, dim, offset, seed
):
    draw = np.random.default_rng(seed)
    vectors = (draw.normal(size=(n, dim)) + offset).astype(np.float32)
    absent = {row: "failed" for row in range(1, n) if draw.random() < 0.3}
    path = tmp_path_factory.mktemp("stores") / "s"
    store = fill_store(path, vectors, absent=absent, rows_per_part=rows_per_part)
    ok = np.delete(vectors, list(absent), axis=0).astype(np.float64)
    found = moments(store, scatter=True)
    assert found.count == len(ok)
    np.testing.assert_allclose(found.mean, ok.mean(axis=0), rtol=1e-12)
    if len(ok) > 1:
        wanted = np.cov(ok, rowvar=False).reshape(dim, dim)
        np.testing.assert_allclose(found.scatter / (len(ok) - 1), wanted, rtol=1e-8, atol=1e-10)


def test_vectors_far_from_the_origin_keep_their_variance(tmp_path, fill_store):
    # Sums of squares would need 2 x 24 + 20 bits here; float64 has 53.
    vectors = np.array([[2.0**23], [2.0**23 + 1]] * 500, dtype=np.float32)
    found = moments(fill_store(tmp_path / "s", vectors, rows_per_part=100), scatter=True)
    assert found.scatter[0, 0] == 250.0
    assert moments(fill_store(tmp_path / "t", vectors), scatter=False).scatter is None


def test_memory_does_not_grow_with_the_items(tmp_path, fill_store):
    def peak(n):
        store = fill_store(tmp_path / str(n), np.ones((n, 32)), rows_per_part=500)
        tracemalloc.start()
        moments(store, scatter=True)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(500)  # what is imported and cached on first use
    assert peak(10_000) < 1.3 * peak(1000)
