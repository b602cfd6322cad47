import json

import numpy as np
import polars as pl
import pytest
from sklearn.decomposition import PCA

from extract.errors import InputError
from extract.files import sha256_file
from extract.store import STATUS_SCHEMA, FeatureStore, Part
from extract.transform.run import transform

ABSENT = {2: "failed", 5: "missing"}


def drawn(n=11, dim=5, seed=0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, dim)).astype(np.float32)


@pytest.fixture
def source(tmp_path, fill_store) -> FeatureStore:
    return fill_store(tmp_path / "source", drawn(), absent=ABSENT)


def digests(folder) -> dict[str, str]:
    return {file.name: sha256_file(file) for file in folder.iterdir()}


def test_a_new_store_with_the_same_items_and_other_vectors(source, tmp_path):
    summary = transform(source.path, tmp_path / "new", method="pca", dim=2)
    new, ok = FeatureStore.open(tmp_path / "new"), source.load().vectors
    assert new.verify() == []
    assert new.statuses().equals(source.statuses())
    assert new.part_count == source.part_count == 4
    loaded = new.load()
    np.testing.assert_array_equal(np.isnan(loaded.vectors).any(axis=1), ~loaded.present)
    present = ok[loaded.present]
    np.testing.assert_allclose(
        loaded.vectors[loaded.present], PCA(2).fit_transform(present), rtol=1e-4, atol=1e-5
    )
    assert not [file.name for file in new.path.iterdir() if "tmp" in file.name]
    share = PCA(2).fit(present).explained_variance_ratio_.sum()
    assert summary.lines() == [
        f"pca:2: 5 to 2 dimensions, from {source.path}",
        "fitted on 9 ok items",
        f"explained variance: {share:.2%} in 2 dimensions",
        "ok 9, failed 1, missing 1",
        f"space: {new.manifest.space}",
        f"features: {new.path}",
    ]


def test_the_manifest_tells_where_it_came_from(source, tmp_path):
    transform(source.path, tmp_path / "new", method="whitening", dim=2, shrinkage=0.1)
    here, new = source.manifest, FeatureStore.open(tmp_path / "new").manifest
    kept = {"modality", "source", "rows_per_part", "decoding", "dtype"}
    assert {name: getattr(new, name) for name in kept} == {n: getattr(here, n) for n in kept}
    assert new.encoder == "tests:Encoder + whitening:2"
    assert new.space.startswith("tests + whitening:2#")
    assert new.fingerprint["source"] == {
        "digest": source.digest(),
        "encoder": "tests:Encoder",
        "space": "tests",
        "fingerprint": {"pooling": "mean"},
    }
    told = new.fingerprint["transform"]
    assert told["sha256"] == sha256_file(tmp_path / "new" / "transform.safetensors")
    assert (told["method"], told["shrinkage"], told["dim"]) == ("whitening", 0.1, 2)
    assert told["fitted_on"] == source.digest()


def test_a_fitted_transform_makes_new_items_comparable(source, tmp_path, fill_store):
    transform(source.path, tmp_path / "first", method="whitening", dim=3)
    more = fill_store(tmp_path / "more", drawn(n=4, seed=1))
    transform(more.path, tmp_path / "second", fitted=tmp_path / "first")
    first, second = (FeatureStore.open(tmp_path / name) for name in ("first", "second"))
    assert first.manifest.space == second.manifest.space
    reference = PCA(3, whiten=True).fit(drawn()[[r for r in range(11) if r not in ABSENT]])
    np.testing.assert_allclose(
        second.load().vectors, reference.transform(drawn(n=4, seed=1)), rtol=1e-3, atol=1e-4
    )
    # Also from a store that was itself made by --fitted.
    transform(more.path, tmp_path / "third", fitted=tmp_path / "second")
    assert digests(tmp_path / "third") == digests(tmp_path / "second")


def test_a_transformed_store_can_be_transformed_again(source, tmp_path):
    transform(source.path, tmp_path / "white", method="whitening", dim=3)
    transform(tmp_path / "white", tmp_path / "unit", method="normalise")
    unit = FeatureStore.open(tmp_path / "unit")
    assert unit.manifest.encoder == "tests:Encoder + whitening:3 + normalise"
    lengths = np.linalg.norm(unit.load().vectors[unit.load().present], axis=1)
    np.testing.assert_allclose(lengths, 1, rtol=1e-6)


def test_one_layer_of_several(tmp_path, fill_store):
    layers = {"layers": [["4", 2], ["8", 3]]}
    store = fill_store(tmp_path / "s", drawn(), absent=ABSENT, fingerprint=layers)
    summary = transform(store.path, tmp_path / "new", layer="8")
    new = FeatureStore.open(tmp_path / "new")
    np.testing.assert_array_equal(new.load().vectors, store.load().vectors[:, 2:])
    assert summary.lines()[0] == f"layer:8: 5 to 3 dimensions, from {store.path}"
    assert new.manifest.space != store.manifest.space
    assert not (new.path / "transform.safetensors").exists()
    # What picked a layer can be applied like any other transform.
    transform(store.path, tmp_path / "again", fitted=tmp_path / "new")
    assert digests(tmp_path / "again") == digests(tmp_path / "new")


@pytest.mark.parametrize("method", ["pca", "whitening", "normalise", "center"])
def test_cut_short_it_goes_on_and_ends_in_the_same_bytes(source, tmp_path, method, monkeypatch):
    transform(source.path, tmp_path / "whole", method=method)
    out = tmp_path / "cut"
    write, done = FeatureStore.write_part, []

    def killed(self, part, content):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(part)
        write(self, part, content)

    monkeypatch.setattr(FeatureStore, "write_part", killed)
    with pytest.raises(KeyboardInterrupt):
        transform(source.path, out, method=method)
    monkeypatch.undo()
    kept = (out / "part-0.npy").stat().st_mtime_ns
    summary = transform(source.path, out, method=method)
    assert (summary.written, summary.kept) == (2, 2)
    assert "2 parts written; 2 stood there already" in summary.lines()
    assert (out / "part-0.npy").stat().st_mtime_ns == kept
    assert digests(out) == digests(tmp_path / "whole")
    assert (
        "already complete: nothing was written"
        in transform(source.path, out, method=method).lines()
    )


def test_killed_before_the_first_part_it_begins_anew(source, tmp_path):
    transform(source.path, tmp_path / "whole", method="pca")
    transform(source.path, tmp_path / "cut", method="pca")
    for file in (tmp_path / "cut").iterdir():
        if file.name != "manifest.json":
            file.unlink()
    transform(source.path, tmp_path / "cut", method="pca")
    assert digests(tmp_path / "cut") == digests(tmp_path / "whole")


def test_going_on_does_not_fit_again(source, tmp_path, monkeypatch):
    transform(source.path, tmp_path / "new", method="pca", dim=3)
    (tmp_path / "new" / "part-1.json").unlink()
    monkeypatch.setattr("extract.transform.run.fit", None)
    assert transform(source.path, tmp_path / "new", method="pca", dim=3).written == 1


def test_other_features_are_refused_and_overwritten_on_demand(source, tmp_path):
    transform(source.path, tmp_path / "new", method="pca", dim=2)
    (tmp_path / "new" / "mine.txt").touch()
    for options in ({"method": "pca", "dim": 3}, {"method": "center"}, {"method": "pca"}):
        with pytest.raises(InputError, match=r"holds other features \(.*--overwrite"):
            transform(source.path, tmp_path / "new", **options)
    transform(source.path, tmp_path / "new", method="normalise", overwrite=True)
    new = FeatureStore.open(tmp_path / "new")
    assert new.manifest.dim == 5
    assert new.verify() == []
    # Nothing of the old one stays, and nobody else's file goes.
    assert (new.path / "mine.txt").exists()
    assert not (new.path / "transform.safetensors").exists()


def test_a_source_that_changed_is_noticed(source, tmp_path, fill_store):
    transform(source.path, tmp_path / "new", method="pca", dim=2)
    fill_store(tmp_path / "other", drawn(seed=9))
    for file in (tmp_path / "other").glob("part-*"):
        file.rename(source.path / file.name)
    with pytest.raises(InputError, match="holds other features"):
        transform(source.path, tmp_path / "new", method="pca", dim=2)


def test_a_place_that_cannot_be_written_is_one_message_and_then_goes_on(source, tmp_path):
    out = tmp_path / "new"
    transform(source.path, out, method="pca")
    whole = digests(out)
    for kind in ("npy", "json", "parquet"):
        (out / f"part-1.{kind}").unlink()
    (out / "part-1.npy").mkdir()
    with pytest.raises(InputError, match="part 1 could not be written"):
        transform(source.path, out, method="pca")
    (out / "part-1.npy").rmdir()
    assert transform(source.path, out, method="pca").written == 1
    assert digests(out) == whole


def test_zero_vectors_are_counted(tmp_path, fill_store):
    vectors = drawn()
    vectors[4] = 0
    store = fill_store(tmp_path / "s", vectors, absent=ABSENT)
    lines = transform(store.path, tmp_path / "new", method="normalise").lines()
    assert "warning: the vectors of 1 ok items are zero" in lines


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "exactly one of --method, --fitted and --layer"),
        ({"method": "pca", "layer": "4"}, "exactly one of"),
        ({"layer": "4", "dim": 2}, "--dim 2: acts on --method only"),
        ({"layer": "4"}, "a single layer"),
        ({"method": "pca", "dim": 9}, "have 5 dimensions"),
        ({"method": "center", "dim": 2}, "acts on pca and whitening"),
        ({"fitted": "source"}, "was not made by `features transform`"),
        ({"fitted": "nowhere"}, "no feature store here"),
    ],
)
def test_options_that_do_not_fit(source, tmp_path, options, says):
    if "fitted" in options:
        options = {"fitted": tmp_path / options["fitted"]}
    with pytest.raises(InputError, match=says):
        transform(source.path, tmp_path / "new", **options)
    assert not (tmp_path / "new").exists()


def test_a_transform_of_another_space_is_refused(source, tmp_path, fill_store):
    transform(source.path, tmp_path / "fitted", method="pca")
    other = fill_store(tmp_path / "other", drawn(), space="elsewhere")
    with pytest.raises(InputError, match=r"fitted in the space 'tests'.*is in 'elsewhere'"):
        transform(other.path, tmp_path / "new", fitted=tmp_path / "fitted")


def test_what_is_read_is_never_written_to(source, tmp_path):
    transform(source.path, tmp_path / "fitted", method="pca")
    before = digests(source.path), digests(tmp_path / "fitted")
    (tmp_path / "link").symlink_to(source.path)
    for out in (source.path, tmp_path / "link"):
        with pytest.raises(InputError, match="is the store that is read"):
            transform(source.path, out, method="pca", overwrite=True)
    with pytest.raises(InputError, match="is the store that is read"):
        transform(source.path, tmp_path / "fitted", fitted=tmp_path / "fitted", overwrite=True)
    assert (digests(source.path), digests(tmp_path / "fitted")) == before


def test_no_store_an_incomplete_one_and_a_folder_of_other_files(tmp_path, fill_store):
    with pytest.raises(InputError, match="no feature store here"):
        transform(tmp_path / "nowhere", tmp_path / "new", method="pca")
    half = fill_store(tmp_path / "half", drawn(), parts=[0])
    with pytest.raises(InputError, match="incomplete"):
        transform(half.path, tmp_path / "new", method="pca")
    whole = fill_store(tmp_path / "whole", drawn())
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "mine.txt").touch()
    with pytest.raises(InputError, match="holds other files"):
        transform(whole.path, tmp_path / "new", method="pca")
    nan = drawn()
    nan[7, 0] = np.nan
    with pytest.raises(InputError, match="part 2: item 'item-7' counts as ok"):
        transform(fill_store(tmp_path / "nan", nan).path, tmp_path / "b", method="pca")
    assert not (tmp_path / "b").exists()


def test_a_transform_whose_file_was_changed_is_not_gone_on_with(source, tmp_path):
    transform(source.path, tmp_path / "new", method="pca", dim=2)
    manifest = json.loads((tmp_path / "new" / "manifest.json").read_text())
    (tmp_path / "new" / "transform.safetensors").write_bytes(b"other")
    # It is fitted again, which gives what the manifest says.
    transform(source.path, tmp_path / "new", method="pca", dim=2)
    told = manifest["fingerprint"]["transform"]["sha256"]
    assert sha256_file(tmp_path / "new" / "transform.safetensors") == told


def test_a_store_that_took_new_items_keeps_its_parts(source, tmp_path):
    parts, rows = source.part_count, source.item_count
    source.add_items(["new"])
    vector = np.arange(source.manifest.dim, dtype=np.float32)[None]
    status = pl.DataFrame([("new", "ok", None, "0" * 64)], schema=STATUS_SCHEMA, orient="row")
    source.write_part(parts, Part(vector, status))
    transform(source.path, tmp_path / "new", method="normalise")
    new = FeatureStore.open(tmp_path / "new")
    assert new.ids() == source.ids()
    assert new.part_rows(parts) == range(rows, rows + 1)
    expected = vector[0] / np.linalg.norm(vector)
    np.testing.assert_allclose(new.part_vectors(parts)[0], expected, rtol=1e-6)
