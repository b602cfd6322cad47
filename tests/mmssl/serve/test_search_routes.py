"""Finding items by what is sent, through real encoders."""

import io
import sys

import pytest
from PIL import Image

from tests.mmssl.serve.shop import ITEMS, LETTERS, hertz, png_header, tone

NAMED = (("text", "letters:Letters"),)


@pytest.fixture
def own_encoder(tmp_path, monkeypatch):
    """A class of the person's own, in the working folder."""
    (tmp_path / "letters.py").write_text(LETTERS)
    monkeypatch.chdir(tmp_path)
    yield
    sys.modules.pop("letters", None)


def search(client, modality, content=None, k=3, **fields):
    files = {} if content is None else {"file": ("name", content)}
    return client.post("/api/search", data={"modality": modality, "k": k, **fields}, files=files)


def found(answer):
    assert answer.status_code == 200, answer.text
    return [entry["item"]["id"] for entry in answer.json()["items"]]


@pytest.mark.parametrize("row", [0, 3, 7])
def test_a_sound_finds_the_item_of_the_same_pitch(client, tmp_path, row):
    answer = search(client, "audio", tone(tmp_path / "x.wav", hertz(row)).read_bytes())
    assert found(answer)[0] == ITEMS[row]
    first = answer.json()["items"][0]
    assert first["rank"] == 1
    assert first["similarity"] == pytest.approx(1, abs=1e-5)


def test_words_find_the_item_spelt_alike_by_an_encoder_that_a_person_named(client_of, own_encoder):
    client = client_of(encoders=NAMED)
    assert client.get("/api/model").json()["modalities"][2]["searchable"] is True
    assert found(search(client, "text", text="nilpa"))[0] == "plain"
    assert found(search(client, "text", content="outside".encode("utf-8-sig")))[0] == "outside"


def test_a_class_that_only_the_model_folder_names_is_not_imported(client, own_encoder):
    answer = search(client, "text", text="plain")
    assert answer.status_code == 422
    assert "the model names it, but only a person may: --encoder" in answer.json()["detail"]
    assert "letters" not in sys.modules


def test_an_encoder_that_cannot_be_loaded_is_said_and_then_known(client_of, own_encoder):
    client = client_of(encoders=(("text", "letters:Numbers"),))
    answer = search(client, "text", text="plain")
    assert answer.status_code == 422
    assert "text cannot be searched here" in answer.json()["detail"]
    assert client.get("/api/model").json()["modalities"][2]["searchable"] is False


@pytest.mark.parametrize("word", ["unspeakable", "infinite"])
def test_what_an_encoder_cannot_take_is_415(client_of, own_encoder, word):
    assert search(client_of(encoders=NAMED), "text", text=word).status_code == 415


def test_features_made_elsewhere_cannot_be_searched(client):
    answer = search(client, "image", content=png())
    assert answer.status_code == 422
    assert "were made elsewhere" in answer.json()["detail"]


def png():
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("modality", "content", "said"),
    [
        ("image", png_header(100_000, 100_000), "picture too large"),
        ("image", b"", "image: "),
        ("image", b"%PDF-1.7", "a PDF document, not a picture"),
        ("image", b"<svg xmlns='x'></svg>", "SVG"),
        ("image", png()[:45], "damaged picture"),
        ("audio", b"<!doctype html><html></html>", "an HTML page, not a sound"),
        ("audio", png(), "not a sound"),
        ("audio", b"RIFF\x00\x00\x00\x00WAVE", "audio: "),
        ("text", b"\xff\xfe\x00", "UTF-16"),
        ("text", b"   ", "text: "),
        ("text", b"\x00\xff\x80", "not UTF-8 text"),
    ],
)
def test_a_wrong_or_hostile_file_is_415_with_the_reason(client_of, modality, content, said):
    named = (("image", "torchvision:resnet18?weights=random"), ("text", "letters:Letters"))
    answer = search(client_of(encoders=named), modality, content)
    assert answer.status_code == 415
    assert said in answer.json()["detail"]
    assert "\n" not in answer.json()["detail"]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"modality": "video"}, "modality: "),
        ({"modality": "audio", "k": 0}, "k: "),
        ({"modality": "audio", "k": 1001}, "k: "),
        ({"modality": "audio"}, "neither a file nor a text was sent"),
        ({}, "modality: "),
    ],
)
def test_wrong_fields_are_422_and_named(client, fields, said):
    answer = client.post("/api/search", data=fields)
    assert answer.status_code == 422
    assert said in answer.json()["detail"]


def test_a_file_and_a_text_at_once_are_refused(client):
    assert search(client, "audio", content=b"x", text="y").status_code == 422


def test_words_for_an_encoder_of_sounds_are_refused(client):
    answer = search(client, "audio", text="a dog")
    assert answer.status_code == 422
    assert "encodes audio, not text" in answer.json()["detail"]


def test_a_large_upload_is_413_whether_its_length_is_told_or_not(client_of, tmp_path):
    client = client_of(upload_bytes=20_000)
    sound = tone(tmp_path / "x.wav").read_bytes()  # 32 kB
    told = search(client, "audio", sound)
    assert told.status_code == 413

    body = b"--b\r\nContent-Disposition: form-data; name=file; filename=f\r\n\r\n" + sound
    chunked = client.post(
        "/api/search",
        content=(body[at : at + 4096] for at in range(0, len(body), 4096)),
        headers={"content-type": "multipart/form-data; boundary=b"},
    )
    assert chunked.status_code == 413
    assert "20000 bytes" in chunked.json()["detail"]


def test_uploads_leave_no_file_behind(client, tmp_path, monkeypatch):
    import tempfile

    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    long = tone(tmp_path / "x.wav").read_bytes() + bytes(3_000_000)  # more than is held in memory
    search(client, "audio", long)
    assert list(folder.iterdir()) == []


_ODD = b"--b\r\nContent-Disposition: form-data; name=\xff\xfe\r\n\r\n\xff\r\n--b--"


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"--b\r\nnonsense", "multipart/form-data; boundary=b"),
        (b"x", "multipart/form-data"),
        (b"{", "application/json"),
        (_ODD, "multipart/form-data; boundary=b"),
        (b"", "text/plain"),
    ],
)
def test_a_body_that_is_no_form_is_4xx(client, content, kind):
    answer = client.post("/api/search", content=content, headers={"content-type": kind})
    assert 400 <= answer.status_code < 500
    assert isinstance(answer.json()["detail"], str)
