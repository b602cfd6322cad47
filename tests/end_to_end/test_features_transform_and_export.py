"""`cli.py features transform` and `export`, from pictures to a dataset and to other tools."""

import numpy as np
import polars as pl
import pytest
from PIL import Image

import cli
from extract.store import FeatureStore
from mmssl.data.dataset import Dataset

ODD_IDS = ["a.b", "a/b", "пример", "007", "x y"]


@pytest.fixture
def type_in(capsys):
    def run(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            cli.run(cli.app, [str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return int(end.value.code or 0), out, err

    return run


@pytest.fixture
def features(tmp_path, type_in):
    """A store of 15 pictures, one of them broken, from the example's own encoder."""
    draw, rows = np.random.default_rng(0), []
    for index in range(15):
        pixels = draw.integers(0, 256, (6, 6, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{index}.png")
        rows.append((ODD_IDS[index] if index < 5 else f"item-{index}", f"{index}.png"))
    (tmp_path / "9.png").write_bytes(b"\x89PNG no more")
    frame = pl.DataFrame(rows, schema=["item_id", "image"], orient="row")
    frame.write_csv(tmp_path / "items.csv")
    liked = [
        f"u{user},{frame['item_id'][(user * 3 + k) % 15]}" for user in range(9) for k in range(6)
    ]
    (tmp_path / "likes.csv").write_text("user,item\n" + "\n".join(liked) + "\n")
    encoder = "examples.custom_encoder:ColourHistogram?bins=3"
    code, _, err = type_in(
        *("extract", "--modality", "image", "--items", tmp_path / "items.csv"),
        *("--encoder", encoder, "--out", tmp_path / "image", "--rows-per-part", 4),
    )
    assert code == 0, err
    return tmp_path / "image"


def prepare(type_in, tmp_path, out, *features):
    code, told, err = type_in(
        *("prepare", "--interactions", tmp_path / "likes.csv", "--items", tmp_path / "items.csv"),
        *("--out", tmp_path / out, *features),
    )
    assert code == 0, err
    return told, Dataset.open(tmp_path / out)


def test_a_transformed_store_is_a_source_like_any_other(features, tmp_path, type_in):
    new = tmp_path / "white"
    code, out, err = type_in(
        "features", "transform", features, "--out", new, "--method", "whitening", "--dim", 4
    )
    assert (code, err) == (0, "")
    assert "whitening:4: " in out
    assert "explained variance: " in out
    assert "ok 14, failed 1, missing 0" in out
    told, dataset = prepare(type_in, tmp_path, "data", "--features", f"image={new}")
    assert "image: 4 dimensions, 14 items, missing for 1" in told
    image, store = dataset.features["image"], FeatureStore.open(new)
    assert image.encoder == "examples.custom_encoder:ColourHistogram?bins=3 + whitening:4"
    assert image.digest == store.digest()
    loaded = store.load()
    by_id = dict(zip(loaded.ids, loaded.vectors, strict=True))
    for row, item in enumerate(dataset.item_ids.ids):
        assert image.present[row] == (item != "item-9")
        if image.present[row]:
            np.testing.assert_array_equal(image.vectors[row], by_id[item])


def test_the_rows_of_a_dataset_for_mmrec_and_back(features, tmp_path, type_in):
    _, dataset = prepare(type_in, tmp_path, "data", "--features", f"image={features}")
    code, out, err = type_in(
        *("features", "export", features, "--to", "npy", "--out", tmp_path / "image_feat.npy"),
        *("--order", tmp_path / "data" / "items.parquet", "--missing", "zero"),
    )
    assert (code, err) == (0, "")
    assert "npy: 14 items" in out
    assert "15 rows in the order given, 1 zero" in out
    matrix = np.load(tmp_path / "image_feat.npy", allow_pickle=False)
    np.testing.assert_array_equal(matrix, dataset.features["image"].vectors)
    np.testing.assert_array_equal(
        np.load(tmp_path / "image_feat.mask.npy"), dataset.features["image"].present
    )
    # And back: what was exported is read as --features with its list of ids.
    type_in(
        *("features", "export", features, "--to", "npy", "--out", tmp_path / "f.npy"),
    )
    _, again = prepare(
        *(type_in, tmp_path, "again", "--features", f"image={tmp_path / 'f.npy'}"),
        *("--feature-ids", f"image={tmp_path / 'f.ids.txt'}"),
    )
    np.testing.assert_array_equal(
        again.features["image"].vectors, dataset.features["image"].vectors
    )


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["transform", "nowhere", "--out", "new", "--method", "pca"], "no feature store here"),
        (["transform", "image", "--out", "new"], "exactly one of --method"),
        (["transform", "image", "--out", "new", "--method", "pac"], "'pac' is not one of"),
        (["transform", "image", "--out", "new", "--method", "pca", "--dim", "999"], "--dim 999"),
        (["transform", "image", "--out", "new", "--layer", "4"], "a single layer"),
        (["transform", "image", "--out", "image", "--method", "pca"], "is the store that is read"),
        (["export", "nowhere", "--to", "npy", "--out", "f.npy"], "no feature store here"),
        (["export", "image", "--to", "csv", "--out", "f.csv"], "'csv' is not one of"),
        (["export", "image", "--to", "npy", "--out", "f.npy", "--order", "x.txt"], "no such file"),
        (["export", "image", "--to", "recbole", "--out", "f.item"], "RecBole wants"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_exit_code_2(
    features, tmp_path, type_in, monkeypatch, arguments, says
):
    monkeypatch.chdir(tmp_path)
    code, out, err = type_in("features", *arguments)
    assert code == 2
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert says in err
