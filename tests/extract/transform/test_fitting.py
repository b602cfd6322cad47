import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.covariance import ShrunkCovariance
from sklearn.decomposition import PCA

from extract.errors import InputError
from extract.transform.fitting import fit, layer_of

SHARED = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20)


def drawn(n=60, dim=6, seed=0) -> np.ndarray:
    draw = np.random.default_rng(seed)
    return (draw.normal(size=(n, dim)) @ draw.normal(size=(dim, dim)) + 3).astype(np.float32)


@pytest.mark.parametrize("method", ["pca", "whitening"])
@pytest.mark.parametrize("dim", [1, 4, 6, None])
def test_it_is_scikit_learns_pca_fitted_on_the_ok_items(tmp_path, fill_store, method, dim):
    vectors = drawn()
    absent = {0: "failed", 7: "missing", 59: "failed"}
    store = fill_store(tmp_path / "s", vectors, absent=absent, rows_per_part=7)
    ok = np.delete(vectors, list(absent), axis=0).astype(np.float64)
    reference = PCA(dim, whiten=method == "whitening", svd_solver="full").fit(ok)
    made = fit(store, method, dim=dim)
    assert made.dim == (dim or 6)
    np.testing.assert_allclose(made.apply(vectors[:20]), reference.transform(vectors[:20]), 1e-4)
    np.testing.assert_allclose(made.tensors["components"], reference.components_, atol=1e-9)
    np.testing.assert_allclose(made.tensors["explained_variance"], reference.explained_variance_)
    np.testing.assert_allclose(
        made.parameters["explained_variance_ratio"], reference.explained_variance_ratio_.sum()
    )
    assert made.parameters["fitted_items"] == 57


@SHARED
@given(n=st.integers(4, 40), dim=st.integers(1, 8), seed=st.integers(0, 999))
def test_whitened_vectors_have_mean_0_and_covariance_1(tmp_path_factory, fill_store, n, dim, seed):
    vectors = drawn(n, dim, seed)
    made = fit(fill_store(tmp_path_factory.mktemp("s") / "s", vectors), "whitening")
    assert made.dim == min(dim, n - 1)
    white = made.apply(vectors).astype(np.float64)
    np.testing.assert_allclose(white.mean(axis=0), 0, atol=1e-4)
    # Directions of little variance carry the rounding of float32 inputs.
    np.testing.assert_allclose(np.cov(white, rowvar=False), np.eye(made.dim), atol=2e-2)


@SHARED
@given(st.integers(0, 999))
def test_the_sign_is_decided_by_the_largest_component(tmp_path_factory, fill_store, seed):
    vectors = drawn(seed=seed)
    folder = tmp_path_factory.mktemp("s")
    made = fit(fill_store(folder / "a", vectors), "pca").tensors["components"]
    assert (made[np.arange(6), np.abs(made).argmax(axis=1)] > 0).all()
    mirrored = fit(fill_store(folder / "b", 6 - vectors), "pca").tensors["components"]
    np.testing.assert_allclose(made, mirrored, atol=1e-5)


@pytest.mark.parametrize("shrinkage", [0.1, 0.7, 1.0])
def test_shrinkage_whitens_by_scikit_learns_shrunk_covariance(tmp_path, fill_store, shrinkage):
    vectors = drawn()
    made = fit(fill_store(tmp_path / "s", vectors), "whitening", shrinkage=shrinkage)
    n, tensors = len(vectors), made.tensors
    # W^T W is the inverse of the covariance that it whitens; sklearn divides by n, we by n - 1.
    precision = (tensors["components"].T * tensors["scale"] ** 2) @ tensors["components"]
    reference = ShrunkCovariance(shrinkage=shrinkage).fit(vectors.astype(np.float64))
    np.testing.assert_allclose(precision, reference.precision_ * (n - 1) / n, rtol=1e-5, atol=1e-8)


def test_centred_vectors_have_mean_0_and_normalised_ones_length_1(tmp_path, fill_store):
    vectors = drawn()
    vectors[3] = 0
    store = fill_store(tmp_path / "s", vectors)
    np.testing.assert_allclose(
        fit(store, "center").apply(vectors), vectors - vectors.mean(axis=0, dtype=np.float64), 1e-5
    )
    lengths = np.linalg.norm(fit(store, "normalise").apply(vectors), axis=1)
    np.testing.assert_allclose(lengths, np.where(np.arange(60) == 3, 0, 1), rtol=1e-6)


def test_a_dimension_beyond_the_rank_is_refused_with_the_rank(tmp_path, fill_store):
    flat = np.column_stack([drawn(dim=3), drawn(dim=3)])
    made = fit(fill_store(tmp_path / "flat", flat), "whitening")
    assert made.dim == made.parameters["rank"] == 3
    with pytest.raises(InputError, match=r"--dim 4: the 60 ok items .* differ in 3 directions"):
        fit(fill_store(tmp_path / "flat4", flat), "pca", dim=4)
    few = fill_store(tmp_path / "few", drawn(n=4), absent={2: "failed"})
    with pytest.raises(InputError, match=r"the 3 ok items .* choose --dim 2 or less"):
        fit(few, "pca", dim=3)


@pytest.mark.parametrize("value", [0.0, 0.1, 1234.567])
def test_items_that_are_all_alike_have_no_directions(tmp_path, fill_store, value):
    store = fill_store(tmp_path / "s", np.full((10, 3), value), rows_per_part=4)
    with pytest.raises(InputError, match="all 10 ok items have the same vector"):
        fit(store, "pca")


@pytest.mark.parametrize("method", ["pca", "whitening", "center"])
@pytest.mark.parametrize(("ok", "says"), [(1, "1 ok item;"), (0, "0 ok items;")])
def test_too_few_items(tmp_path, fill_store, method, ok, says):
    absent = dict.fromkeys(range(ok, 5), "failed")
    with pytest.raises(InputError, match=f"{says} {method} needs at least 2"):
        fit(fill_store(tmp_path / "s", drawn(n=5), absent=absent), method)


@pytest.mark.parametrize(
    ("method", "options", "says"),
    [
        ("pca", {"dim": 0}, "choose 1 to 6"),
        ("pca", {"dim": 7}, "have 6 dimensions"),
        ("center", {"dim": 3}, "--dim 3: acts on pca and whitening, not on center"),
        ("pca", {"shrinkage": 0.1}, "--shrinkage 0.1: acts on whitening, not on pca"),
        ("whitening", {"shrinkage": 1.5}, "from 0 to 1"),
        ("whitening", {"shrinkage": float("nan")}, "from 0 to 1"),
        ("pac", {}, "did you mean 'pca'"),
    ],
)
def test_options_that_do_not_fit(tmp_path, fill_store, method, options, says):
    with pytest.raises(InputError, match=says):
        fit(fill_store(tmp_path / "s", drawn()), method, **options)


def test_a_layer_is_its_columns(tmp_path, fill_store):
    vectors = drawn()
    layers = {"layers": [["4", 2], ["encoder.8", 3], ["12", 1]]}
    store = fill_store(tmp_path / "s", vectors, fingerprint=layers)
    made = layer_of(store, "encoder.8")
    assert made.dim == 3
    np.testing.assert_array_equal(made.apply(vectors), vectors[:, 2:5])
    with pytest.raises(InputError, match=r"no layer 'encoder.7' \(did you mean 'encoder.8'\?\)"):
        layer_of(store, "encoder.7")


@pytest.mark.parametrize(
    ("layers", "says"),
    [
        (None, "a single layer"),
        ([["4", 2], ["8", 5]], "do not make up its 6 dimensions"),
        ([["4", 3], ["4", 3]], "do not make up"),
        ([["4", -1], ["8", 7]], "do not make up"),
        ([7], "a single layer"),
    ],
)
def test_a_store_without_that_layer(tmp_path, fill_store, layers, says):
    store = fill_store(tmp_path / "s", drawn(), fingerprint={"layers": layers})
    with pytest.raises(InputError, match=says):
        layer_of(store, "4")
