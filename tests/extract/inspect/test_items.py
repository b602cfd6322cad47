import sys

import numpy as np
import polars as pl
import pytest
import soundfile
from PIL import Image

from extract.errors import InputError
from extract.inspect.items import ItemSource, read_labels, read_media
from extract.media.files import MediaError


def read(source, own, ids, max_seconds=600.0):
    found = {}
    held = read_media(
        source, own, ids, lambda name, kind, raw: found.update({(name, kind): raw}), max_seconds
    )
    return held, found


@pytest.fixture
def catalogue(tmp_path):
    Image.new("RGB", (2, 3), (255, 0, 0)).save(tmp_path / "red.png")
    (tmp_path / "broken.png").write_text("<html>")
    soundfile.write(tmp_path / "tone.wav", np.full(8000, 0.5), 8000)
    path = tmp_path / "items.csv"
    path.write_text(
        "sku,photo,title,audio\n"
        "a,red.png,A title,tone.wav\n"
        "b,broken.png,,\n"
        "c,../out.png,Third,gone.wav\n"
    )
    return path


def test_every_medium_that_the_table_has_is_read_and_failures_are_reasons(catalogue):
    source = ItemSource(catalogue, id_column="sku", columns=("photo",))
    held, found = read(source, "image", ["a", "b", "c", "nobody"])
    assert held == {"a", "b", "c"}
    assert found["a", "image"].getpixel((0, 0)) == (255, 0, 0)
    assert found["a", "text"] == "A title"
    assert found["a", "audio"].sample_rate == 8000
    reasons = {key: str(raw) for key, raw in found.items() if isinstance(raw, MediaError)}
    assert reasons == {
        ("b", "image"): "an HTML page, not a picture",
        ("c", "image"): "outside the media roots",
        ("c", "audio"): "file not found",
    }
    assert ("b", "text") not in found


def test_columns_of_other_media_and_a_longest_sound(catalogue):
    source = ItemSource(catalogue, id_column="sku", columns=("title", "image=photo"))
    held, found = read(source, "text", ["a"], max_seconds=0.5)
    assert held == {"a"}
    assert found["a", "image"].size == (2, 3)
    assert str(found["a", "audio"]) == "sound too long (more than 0.5 seconds)"


def test_a_template_and_a_media_root(catalogue, tmp_path):
    inner = tmp_path / "inner"
    inner.mkdir()
    (inner / "items.csv").write_text("id,image,name\n1,../red.png,One\n")
    source = ItemSource(inner / "items.csv", text_template="It is {name}.")
    _, found = read(source, "text", ["1"])
    assert found["1", "text"] == "It is One."
    assert str(found["1", "image"]) == "outside the media roots"
    _, found = read(ItemSource(inner / "items.csv", media_roots=(tmp_path,)), "image", ["1"])
    assert found["1", "image"].size == (2, 3)


def test_a_folder_of_files(tmp_path):
    Image.new("RGB", (5, 5)).save(tmp_path / "x.png")
    (tmp_path / "x.txt").write_text("words")
    held, found = read(ItemSource(tmp_path), "image", ["x"])
    assert held == {"x"}
    assert list(found) == [("x", "image")]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "none of the columns image, image_path"),
        ({"columns": ("phot",)}, "no column 'phot'"),
        ({"columns": ("photo", "text=nothing")}, "no column 'nothing'"),
        ({"columns": ("photo", "image=photo")}, "image has a column already"),
        ({"columns": ("photo",), "text_template": "{no}"}, "no column 'no'"),
        ({"columns": ("photo",), "media_roots": ("/no/such",)}, "no such folder"),
    ],
)
def test_what_cannot_be_read_is_said(catalogue, options, words):
    from pathlib import Path

    roots = tuple(map(Path, options.pop("media_roots", ())))
    source = ItemSource(catalogue, id_column="sku", media_roots=roots, **options)
    with pytest.raises(InputError, match=words):
        read(source, "image", ["a"])


def test_labels(tmp_path):
    path = tmp_path / "items.csv"
    path.write_text("item_id,kind\n1,x\n2,\n3,  \n4,y\n4,y\n")
    assert read_labels(path, "kind") == {"1": "x", "4": "y"}
    pl.DataFrame({"sku": [1, 2], "year": [1999, None]}).write_parquet(tmp_path / "t.parquet")
    assert read_labels(tmp_path / "t.parquet", "year", "sku") == {"1": "1999"}


def test_labels_that_cannot_be_used(tmp_path):
    path = tmp_path / "items.csv"
    path.write_text("item_id,kind\n1,x\n1,y\n")
    with pytest.raises(InputError, match="item '1' has two labels in column 'kind'"):
        read_labels(path, "kind")
    with pytest.raises(InputError, match=r"no column 'knd', named by --label \(did you mean"):
        read_labels(path, "knd")
    with pytest.raises(InputError, match="no column 'sku', named by --id-column"):
        read_labels(path, "kind", "sku")
    with pytest.raises(InputError, match="no such file"):
        read_labels(tmp_path / "no.csv", "kind")
    (tmp_path / "n.csv").write_text("name,kind\n1,x\n")
    with pytest.raises(InputError, match="none of the columns item_id, id, item"):
        read_labels(tmp_path / "n.csv", "kind")
    pl.DataFrame({"id": [1], "tags": [["a", "b"]]}).write_parquet(tmp_path / "t.parquet")
    with pytest.raises(InputError, match=r"column 'tags' holds List\(String\)"):
        read_labels(tmp_path / "t.parquet", "tags")


def test_videos_of_a_table_are_read_and_their_want_of_pyav_hides_nothing_else(
    tmp_path, make_clip, numbered, monkeypatch
):
    tone = np.full(16000, 8000, np.int16)
    make_clip(tmp_path / "a.mkv", [numbered(n) for n in range(9)], sound=tone)
    (tmp_path / "items.csv").write_text("item_id,title,video\na,A title,a.mkv\n")
    source = ItemSource(tmp_path / "items.csv")
    _, found = read(source, "text", ["a"])
    assert len(found["a", "video"].frames) == 8
    assert found["a", "audio"].sample_rate == 16000
    monkeypatch.setitem(sys.modules, "av", None)
    _, found = read(source, "text", ["a"])
    assert found["a", "text"] == "A title"
    assert "needs the extra 'video'" in str(found["a", "video"])
    with pytest.raises(InputError, match="needs the extra 'video'"):
        read(source, "video", ["a"])
