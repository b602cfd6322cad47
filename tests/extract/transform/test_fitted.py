import json

import numpy as np
import pytest
from safetensors.numpy import load_file

from extract.errors import InputError
from extract.store import FeatureStore
from extract.transform.fitted import FittedTransform
from extract.transform.fitting import fit
from extract.transform.run import transform


@pytest.fixture
def made(tmp_path, fill_store) -> FeatureStore:
    vectors = np.random.default_rng(0).normal(size=(20, 4))
    fill_store(tmp_path / "source", vectors)
    transform(tmp_path / "source", tmp_path / "made", method="whitening", dim=2)
    return FeatureStore.open(tmp_path / "made")


def test_what_was_fitted_is_kept_as_safetensors_and_comes_back(made, tmp_path):
    tensors = load_file(made.path / "transform.safetensors")
    assert {name: (value.shape, str(value.dtype)) for name, value in tensors.items()} == {
        "mean": ((4,), "float64"),
        "components": ((2, 4), "float64"),
        "explained_variance": ((2,), "float64"),
        "scale": ((2,), "float64"),
    }
    source = FeatureStore.open(tmp_path / "source").load().vectors
    by_hand = (source - tensors["mean"]) @ tensors["components"].T * tensors["scale"]
    np.testing.assert_allclose(made.load().vectors, by_hand, rtol=1e-5, atol=1e-6)
    again = FittedTransform.of_store(made)
    np.testing.assert_array_equal(again.apply(source), made.load().vectors)
    assert again.space == made.manifest.space


def test_the_space_tells_transforms_apart(tmp_path, fill_store):
    draw = np.random.default_rng(0)
    a = fill_store(tmp_path / "a", draw.normal(size=(20, 4)))
    b = fill_store(tmp_path / "b", draw.normal(size=(20, 4)))
    made = [
        fit(a, "pca"),
        fit(a, "pca", dim=2),
        fit(a, "whitening"),
        fit(a, "whitening", shrinkage=0.5),
        fit(a, "center"),
        fit(a, "normalise"),
        fit(b, "pca"),
    ]
    assert len({each.space for each in made} | {"tests"}) == 8
    # Normalising has nothing to fit: alike in both.
    assert fit(a, "normalise").space == fit(b, "normalise").space


def test_a_damaged_or_missing_transform_is_one_message(made):
    file = made.path / "transform.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(InputError, match=r"transform\.safetensors: damaged"):
        FittedTransform.of_store(made)
    file.unlink()
    with pytest.raises(InputError, match=r"transform\.safetensors: not readable"):
        FittedTransform.of_store(made)


@pytest.mark.parametrize(
    "change", [{"dim": 3}, {"method": "pca"}, {"shrinkage": 0.2}, {"columns": 3}, {"sha256": 1}]
)
def test_a_manifest_that_was_changed_by_hand_is_noticed(made, change):
    path = made.path / "manifest.json"
    values = json.loads(path.read_text())
    values["fingerprint"]["transform"] |= change
    path.write_text(json.dumps(values))
    with pytest.raises(InputError, match="damaged"):
        FittedTransform.of_store(FeatureStore.open(made.path))


def test_a_store_from_an_encoder_holds_none(tmp_path, fill_store):
    store = fill_store(tmp_path / "s", np.ones((2, 2)), fingerprint={"transform": "resize 224"})
    with pytest.raises(InputError, match="was not made by `features transform`"):
        FittedTransform.of_store(store)


def test_a_result_beyond_float32_is_refused(tmp_path, fill_store):
    tiny = np.array([[0.0, 0], [1e-20, 0], [0, 1e-20], [1e-20, 1e-20]], dtype=np.float32)
    made = fit(fill_store(tmp_path / "s", tiny), "whitening")
    with pytest.raises(InputError, match="beyond what float32 holds"):
        made.apply(np.full((1, 2), 3e38, dtype=np.float32))
