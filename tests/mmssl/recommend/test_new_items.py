"""New items from stores and from raw media, with encoders that run: mel statistics and own ones."""

import sys
import wave
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import extract
from extract.errors import InputError
from mmssl.data.features import read_features
from mmssl.data.ids import IdMap
from mmssl.recommend.cold_start import ColdStart
from mmssl.recommend.content_towers import TowerSettings
from mmssl.recommend.model_files import ItemFeatures
from mmssl.recommend.model_folder import SavedModel
from mmssl.recommend.new_items import encoded, from_stores

OWN = '''
import numpy as np
import torch
from extract import Encoder

class Colour(Encoder):
    """The mean of each channel."""
    modalities = ("image",)
    dim = 3
    space = "colour"
    def preprocess(self, raw):
        return torch.from_numpy(np.asarray(raw, dtype=np.float32).mean(axis=(0, 1)))
    def encode(self, batch):
        return torch.stack(batch)
    def fingerprint(self):
        return {}

class Letters(Encoder):
    """How often a, b and c occur."""
    modalities = ("text",)
    dim = 3
    space = "letters"
    def preprocess(self, raw):
        return torch.tensor([float(raw.count(letter)) for letter in "abc"])
    def encode(self, batch):
        return torch.stack(batch)
    def fingerprint(self):
        return {}
'''
KNOWN = [f"i{n}" for n in range(6)]


def write_sound(path: Path, hertz: float) -> None:
    samples = np.sin(2 * np.pi * hertz * np.arange(8000) / 16000) * 20000
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes(samples.astype("<i2").tobytes())


def write_picture(path: Path, *colour: int) -> None:
    Image.new("RGB", (4, 4), colour).save(path)


def encode(items: Path, modality: str, encoder: str, out: Path) -> Path:
    given = {"items": str(items), "modality": modality, "out": str(out), "encoder": encoder}
    extract.run(extract.ExtractionConfig.parse({**given, "device": "cpu"}))
    return out


@pytest.fixture
def own(tmp_path, monkeypatch) -> str:
    """The module of a person's encoders, in the working folder."""
    name = f"own_{abs(hash(tmp_path)) % 10**9}"
    (tmp_path / f"{name}.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p not in ("", str(tmp_path))])
    return name


@pytest.fixture
def model(make_model, own, tmp_path) -> SavedModel:
    """Six items with sounds, texts and pictures, each encoded as ``extract`` does."""
    known = tmp_path / "known"
    known.mkdir()
    for n, item in enumerate(KNOWN):
        write_sound(known / f"{item}.wav", 200 + 300 * n)
        write_picture(known / f"{item}.png", 40 * n, 200, n * n)
        (known / f"{item}.txt").write_text("a" * n + "b" * (n % 3) + "c")
    encoders = {"audio": "melstats:64", "text": f"{own}:Letters", "image": f"{own}:Colour"}
    index, features = IdMap(KNOWN), {}
    for modality, uri in encoders.items():
        store = encode(known, modality, uri, tmp_path / "stores" / modality)
        features[modality] = ItemFeatures(*read_features(store).aligned(index))
        assert features[modality].present.all()
    made = make_model(1, items=6)
    return replace(
        made,
        info=made.info.model_copy(update={"encoders": encoders}),
        graphs={},
        modality_parts={},
        features=features,
    )


@pytest.fixture
def fresh(tmp_path) -> Path:
    """A folder with the sounds of two new items and of a known one, and a new picture."""
    folder = tmp_path / "fresh"
    folder.mkdir()
    for item, hertz in (("new1", 350), ("i3", 1100), ("new2", 900)):
        write_sound(folder / f"{item}.wav", hertz)
    write_picture(folder / "new2.png", 10, 20, 30)
    return folder


def refused(message, ask, *given, **options):
    with pytest.raises(InputError, match=message) as caught:
        ask(*given, **options)
    assert "\n" not in str(caught.value)


def stored_ids(store):
    return extract.FeatureStore.open(store).load().ids


def test_stores_give_the_items_that_the_model_does_not_know(model, own, fresh, tmp_path):
    sounds = encode(fresh, "audio", "melstats:64", tmp_path / "a")
    pictures = encode(fresh, "image", f"{own}:Colour", tmp_path / "i")
    found = from_stores(model, {"audio": str(sounds), "image": str(pictures)})
    assert found.ids == ["new1", "new2"]
    assert set(found.known) == set(stored_ids(sounds)) - set(found.ids)
    assert found.known
    assert list(found.features) == ["audio", "text", "image"]
    there = {m: given.present.tolist() for m, given in found.features.items()}
    assert there == {"audio": [True, True], "text": [False, False], "image": [False, True]}
    stored = extract.FeatureStore.open(sounds).load()
    rows = [list(stored.ids).index(item) for item in found.ids]
    np.testing.assert_array_equal(found.features["audio"].vectors, stored.vectors[rows])
    assert found.features["image"].vectors.tolist() == [[0, 0, 0], [10, 20, 30]]
    assert found.features["text"].vectors.shape == (2, 3)
    settings = TowerSettings(dim=4, pairs=1, steps=4)
    assert ColdStart(model, settings).with_items(found).item_ids == [*KNOWN, "new1", "new2"]


def test_stores_that_do_not_go_with_the_model_are_refused(model, own, fresh, tmp_path):
    store = encode(fresh, "image", f"{own}:Colour", tmp_path / "i")
    named = model.info.model_copy(
        update={"encoders": {**model.info.encoders, "image": "torchvision:resnet18"}}
    )
    other = replace(model, info=named)
    message = f"made by {own}:Colour, the model's image by torchvision:resnet18: such vectors can"
    refused(message, from_stores, other, {"image": str(store)})
    # Who typed the encoder knows.
    assert from_stores(other, {"image": str(store)}, checked=False).ids == ["new2"]
    refused("gone: no such", from_stores, model, {"image": str(tmp_path / "gone")})
    refused(
        "the model has no video; it has: audio, text, image", from_stores, model, {"video": "x"}
    )
    known = {"image": str(tmp_path / "stores" / "image")}
    refused("no item that the model does not know", from_stores, model, known)
    refused(
        "model mmssl keeps no media",
        from_stores,
        replace(model, features={}),
        {"image": str(store)},
    )


def test_a_matrix_has_the_rows_of_a_catalogue_with_numbers_for_ids(model, tmp_path):
    np.save(tmp_path / "image.npy", np.arange(9, dtype=np.float64).reshape(3, 3))
    found = from_stores(model, {"image": str(tmp_path / "image.npy")})
    assert found.ids == ["0", "1", "2"]
    assert found.features["image"].vectors.tolist() == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
    np.save(tmp_path / "image.npy", np.ones((3, 5)))
    wide = from_stores(model, {"image": str(tmp_path / "image.npy")})
    cold_start = ColdStart(model, TowerSettings(dim=4, pairs=1, steps=4))
    refused("image of new items: 5 numbers each, the model's have 3", cold_start.with_items, wide)


def test_a_folder_of_sounds_is_encoded_as_the_model_s_were(model, own, fresh, tmp_path):
    (fresh / "new2.png").unlink()
    found = encoded(model, str(fresh), device="cpu")
    assert found.ids == ["new1", "new2"]
    assert not found.features["text"].present.any()
    assert not found.features["image"].present.any()
    wanted = from_stores(
        model, {"audio": str(encode(fresh, "audio", "melstats:64", tmp_path / "a"))}
    )
    for m, given in wanted.features.items():
        np.testing.assert_array_equal(found.features[m].vectors, given.vectors)
        np.testing.assert_array_equal(found.features[m].present, given.present)


def test_a_class_is_run_only_if_a_person_types_it(model, own, fresh):
    refused(
        f"image: the model names the encoder {own}:Colour, your own code, .* type it, --encoder",
        encoded,
        model,
        str(fresh),
    )
    found = encoded(model, str(fresh), encoders={"image": f"{own}:Colour"}, device="cpu")
    assert found.ids == ["new1", "new2"]
    assert found.features["image"].vectors[1].tolist() == [10, 20, 30]
    assert found.features["audio"].present.all()


def test_a_table_names_texts_and_files_in_its_columns(model, own, fresh, tmp_path):
    table = tmp_path / "new.csv"
    table.write_text(
        "sku,blurb,more,audio\nnew1,abba,c,fresh/new1.wav\ni3,known,,fresh/i3.wav\n7,bb,a,\n"
    )
    options = {"encoders": {"text": f"{own}:Letters"}, "id_column": "sku", "device": "cpu"}
    found = encoded(model, str(table), columns={"text": "blurb"}, **options)
    assert found.ids == ["new1", "7"]
    assert found.features["text"].vectors.tolist() == [[2, 2, 0], [0, 2, 0]]
    assert found.features["audio"].present.tolist() == [True, False]
    assert not found.features["image"].present.any()
    found = encoded(model, str(table), text_template="{blurb} {more}", **options)
    assert found.features["text"].vectors.tolist() == [[2, 2, 1], [1, 2, 0]]


def test_media_outside_the_table_s_folder_need_a_root(model, fresh, tmp_path):
    place = tmp_path / "tables"
    place.mkdir()
    (place / "new.csv").write_text(f"item_id,audio\nnew1,{fresh / 'new1.wav'}\n")
    found = encoded(model, str(place / "new.csv"), device="cpu")
    assert not found.features["audio"].present.any()
    found = encoded(model, str(place / "new.csv"), media_roots=[str(fresh)], device="cpu")
    assert found.features["audio"].present.all()


def test_media_that_cannot_be_read_leave_an_item_without_any(model, own, fresh, tmp_path):
    (fresh / "new1.wav").write_bytes(b"no sound")
    (fresh / "new2.png").unlink()
    found = encoded(model, str(fresh), device="cpu")
    assert found.ids == ["new1", "new2"]
    assert found.features["audio"].present.tolist() == [False, True]
    cold_start = ColdStart(model, TowerSettings(dim=4, pairs=1, steps=4))
    refused("item 'new1': not one medium that could be read", cold_start.with_items, found)
    placed, left_out = found.placeable()
    assert placed.ids == ["new2"]
    assert left_out == ["new1"]
    assert cold_start.with_items(placed).item_ids == [*model.item_ids, "new2"]
    (fresh / "new2.wav").write_bytes(b"no sound either")
    refused("not one medium of any of them", encoded(model, str(fresh), device="cpu").placeable)


def test_encoders_that_cannot_be_had_again_are_refused(model, fresh, tmp_path):
    for uri, message in (
        (None, "audio: the model's features came ready-made: .* --new-features audio=PATH"),
        ("melstats:64 + pca:8", r"transformed after encoding \(melstats:64 \+ pca:8\)"),
    ):
        encoders = {**model.info.encoders, "audio": uri}
        other = replace(model, info=model.info.model_copy(update={"encoders": encoders}))
        (fresh / "new2.png").unlink(missing_ok=True)
        refused(message, encoded, other, str(fresh))
        typed = {"encoders": {"audio": "melstats:64"}, "device": "cpu"}
        if uri is None:
            # Typed, an encoder is taken as it is.
            assert encoded(other, str(fresh), **typed).features["audio"].present.all()
        else:
            # What was done to the model's vectors afterwards would be left out.
            with pytest.raises(InputError, match=message):
                encoded(other, str(fresh), **typed)


def test_what_does_not_apply_or_is_not_there_is_refused(model, own, fresh, tmp_path):
    (tmp_path / "bare.csv").write_text("item_id,price\nx,1\n")
    (tmp_path / "text.csv").write_text("item_id,text\nx,abc\n")
    (tmp_path / "known.csv").write_text("item_id,text\ni1,abc\n")
    letters = {"text": f"{own}:Letters"}
    for items, options, message in (
        ("bare.csv", {}, "bare.csv: nothing of audio, text, image in it; name columns with --col"),
        ("gone.csv", {}, "gone.csv: no such file or folder"),
        ("text.csv", {"encoders": {"video": "x:y"}}, "--encoder video=x:y: the model has no video"),
        ("text.csv", {"columns": {"video": "v"}}, "--column video=v: the model has no video; it"),
        (
            "text.csv",
            {"encoders": {**letters, "audio": "melstats"}},
            "--encoder audio=melstats does not apply: .*text.csv has no audio",
        ),
        (
            "text.csv",
            {"encoders": letters, "media_roots": ["fresh"]},
            "--media-root fresh does not apply: .* has the texts alone",
        ),
        ("text.csv", {"encoders": letters, "columns": {"text": "words"}}, "no column 'words'"),
        ("known.csv", {"encoders": letters}, "no item that the model does not know"),
    ):
        refused(message, encoded, model, str(tmp_path / items), device="cpu", **options)
    mute = replace(model, features={m: f for m, f in model.features.items() if m != "text"})
    refused(
        "--text-template {a}: the model has no text; it has: audio, image",
        encoded,
        mute,
        str(tmp_path / "text.csv"),
        text_template="{a}",
    )
    refused("keeps no media", encoded, replace(model, features={}), str(fresh))
