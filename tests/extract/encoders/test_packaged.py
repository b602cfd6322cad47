import importlib.util
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from extract.encoders.base import Waveform
from extract.encoders.packaged import PACKAGES
from extract.errors import InputError


def folder_of(name):
    module = importlib.util.find_spec(PACKAGES[name].module)
    return Path(module.submodule_search_locations[0]) / PACKAGES[name].folder


INSTALLED = {name: folder_of(name) for name in PACKAGES}


def test_minilm_equals_sentence_transformers(load, encode, raws):
    from sentence_transformers import SentenceTransformer

    own = SentenceTransformer(str(folder_of("minilm")), device="cpu")
    expected = own.encode(raws["text"], convert_to_tensor=True)

    encoder = load("packaged:minilm", "text")

    assert encoder.dim == 384
    torch.testing.assert_close(encode(encoder, raws["text"]), expected, rtol=0, atol=1e-5)
    close, far = (
        encode(encoder, ["A dog runs.", "A puppy is running.", "Interest rates rose."])[1:]
        @ (encode(encoder, ["A dog runs."])[0])
    )
    assert close > 0.6 > 0.2 > far


def test_efficientnet_lite0_still_knows_its_classes(load):
    # The tensors are matched by their order alone: with the head put back, the network must name
    # what it sees as the published one does (ImageNet: 920 traffic light, 904 window screen).
    state = torch.load(next(folder_of("efficientnet-lite0").glob("*.pth")), weights_only=True)
    light = Image.new("RGB", (224, 224), "white")
    draw = ImageDraw.Draw(light)
    draw.rectangle((85, 20, 140, 204), fill="black")
    for top, colour in ((30, "red"), (90, "yellow"), (150, "lime")):
        draw.ellipse((90, top, 135, top + 45), fill=colour)
    screen = Image.new("RGB", (224, 224), "white")
    draw = ImageDraw.Draw(screen)
    for at in range(0, 224, 16):
        draw.line((at, 0, at, 224), fill="black", width=2)
        draw.line((0, at, 224, at), fill="black", width=2)
    encoder = load("packaged:efficientnet-lite0", "image")

    with torch.inference_mode():
        features = encoder.encode([encoder.preprocess(picture) for picture in (light, screen)])

    assert features.shape == (2, 1280) == (2, encoder.dim)
    classes = features @ state["_fc.weight"].T + state["_fc.bias"]
    assert classes.argmax(1).tolist() == [920, 904]


def test_efficientnet_lite0_equals_timm(load, encode, raws):
    import timm

    state = torch.load(next(folder_of("efficientnet-lite0").glob("*.pth")), weights_only=True)
    model = timm.create_model("tf_efficientnet_lite0").eval()
    model.load_state_dict(dict(zip(model.state_dict(), state.values(), strict=True)))
    config = timm.data.resolve_data_config({}, model=model)
    transform = timm.data.create_transform(**config, is_training=False)
    with torch.inference_mode():
        pixels = torch.stack([transform(picture) for picture in raws["image"]])
        expected = model.forward_head(model.forward_features(pixels), pre_logits=True)

    vectors = encode(load("packaged:efficientnet-lite0", "image"), raws["image"])

    torch.testing.assert_close(vectors, expected, rtol=0, atol=1e-5)


def test_whisper_equals_ctranslate2(load, encode, raws):
    import ctranslate2
    from torchaudio.functional import resample
    from transformers import WhisperFeatureExtractor

    whisper = ctranslate2.models.Whisper(str(folder_of("whisper-tiny-en")), compute_type="float32")
    extractor = WhisperFeatureExtractor(feature_size=80, chunk_length=5)
    expected = []
    for sound in raws["audio"]:
        wave = resample(torch.from_numpy(sound.samples), sound.sample_rate, 16_000)
        features = extractor(wave.numpy(), sampling_rate=16_000, return_tensors="np")
        output = whisper.encode(ctranslate2.StorageView.from_array(features["input_features"]))
        expected.append(torch.from_numpy(np.array(output))[0, : -(-len(wave) // 320)].mean(0))

    encoder = load("packaged:whisper-tiny-en", "audio")

    vectors = encode(encoder, raws["audio"])
    torch.testing.assert_close(vectors, torch.stack(expected), rtol=0, atol=1e-4)


def test_whisper_is_near_its_full_window_and_hears_ten_milliseconds(load, encode, raws):
    sounds = raws["audio"][:3]
    short = load("packaged:whisper-tiny-en", "audio")
    long = load("packaged:whisper-tiny-en?window=30", "audio")
    unit = torch.nn.functional.normalize
    cosines = unit(encode(short, sounds)) @ unit(encode(long, sounds)).T
    # Synthetic tones of half a second are the hard case: speech of 5 s reaches .97.
    assert cosines.diagonal().min() > 0.85
    assert cosines.argmax(1).tolist() == list(range(len(sounds)))
    assert short.space != long.space
    blip = Waveform(np.linspace(-0.5, 0.5, 160, dtype=np.float32), 16_000)
    assert torch.isfinite(encode(short, [blip])).all()


@pytest.mark.parametrize(
    ("dtype", "device", "words"),
    [
        (torch.bfloat16, "cpu", "does not compute in bfloat16 on cpu (valid: float32)"),
        (torch.float32, "mps", "runs on cpu and cuda, not on mps"),
    ],
)
def test_whisper_says_where_it_cannot_run(dtype, device, words, load):
    encoder = load("packaged:whisper-tiny-en", "audio")
    with pytest.raises(InputError) as raised:
        encoder.to(torch.device(device), dtype)
    assert words in str(raised.value)


@pytest.mark.parametrize(
    ("name", "modality"), [(name, package.modality) for name, package in PACKAGES.items()]
)
def test_a_package_that_is_not_installed_names_its_extra(name, modality, monkeypatch, load):
    found = importlib.util.find_spec
    absent = PACKAGES[name].module
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda module, *rest: None if module == absent else found(module),
    )
    with pytest.raises(InputError) as raised:
        load(f"packaged:{name}", modality)
    assert str(raised.value) == (
        f"encoder packaged:{name} needs the extra 'packaged':"
        " run  pip install 'mmssl-toolkit[packaged]'"
    )


@pytest.mark.parametrize(
    ("name", "modality", "library"),
    [("efficientnet-lite0", "image", "timm"), ("whisper-tiny-en", "audio", "ctranslate2")],
)
def test_a_library_that_is_not_installed_names_its_extra(
    name, modality, library, monkeypatch, load
):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(InputError, match="needs the extra 'packaged'"):
        load(f"packaged:{name}", modality)


@pytest.fixture
def copied(tmp_path, monkeypatch):
    """Copies of the packages' small files, found in place of what is installed."""

    def make(name):
        package = PACKAGES[name]
        folder = tmp_path / package.module
        (folder / package.folder).mkdir(parents=True)
        (folder / "__init__.py").write_text("raise SystemExit('imported')")
        for file in package.digests:
            if (folder_of(name) / file).stat().st_size < 10**6:
                (folder / package.folder / file).parent.mkdir(exist_ok=True)
                shutil.copy(folder_of(name) / file, folder / package.folder / file)
        monkeypatch.syspath_prepend(tmp_path)
        return folder / package.folder

    return make


def test_files_that_are_not_the_pinned_ones_are_refused(copied, load):
    folder = copied("minilm")
    with pytest.raises(InputError, match=r"the installed package lacks .*model\.safetensors"):
        load("packaged:minilm", "text")
    config = folder / "config.json"
    config.write_text(config.read_text().replace("384", "385"))
    with pytest.raises(InputError, match=r"config\.json is not the file .* tested with: refused"):
        load("packaged:minilm", "text")


@pytest.mark.parametrize(
    ("file", "text"),
    [("config_sentence_transformers.json", '{"prompts": {"x": "y"}}'), ("vocab.txt", "cat")],
)
def test_every_file_of_minilm_is_pinned(file, text, copied, load):
    folder = copied("minilm")
    (folder / "model.safetensors").symlink_to(INSTALLED["minilm"] / "model.safetensors")
    (folder / file).write_text(text)
    with pytest.raises(InputError, match=f"{file} is not the file"):
        load("packaged:minilm", "text")


@pytest.mark.parametrize("file", ["added_tokens.json", "2_Dense/config.json"])
def test_files_that_do_not_belong_to_a_package_are_refused(file, copied, load):
    folder = copied("minilm")
    (folder / "model.safetensors").symlink_to(INSTALLED["minilm"] / "model.safetensors")
    load("packaged:minilm", "text")
    (folder / file).parent.mkdir(exist_ok=True)
    (folder / file).write_text('{"red": 5}')
    with pytest.raises(InputError, match=f"{file} does not belong to the package"):
        load("packaged:minilm", "text")


@pytest.mark.parametrize(
    ("uri", "modality", "words"),
    [
        ("packaged:mini", "text", "no such packaged encoder (did you mean 'minilm'?)"),
        ("packaged:minilm", "image", "it encodes text, not image"),
        ("packaged:minilm?window=3", "text", "unknown option 'window'"),
        ("packaged:efficientnet-lite0?window=3", "image", "take no options"),
        ("packaged:minilm?chunk=3&overlap=1", "text", "overlap=1: a chunk holds 1 tokens"),
        ("packaged:minilm?chunk=2", "text", "chunk=2: the model takes up to 256 tokens, and 2 of"),
        ("packaged:whisper-tiny-en?window=31", "audio", "longer than the model's input of 30 s"),
        ("packaged:whisper-tiny-en?layer=1", "audio", "unknown option 'layer'"),
        ("packaged:minilm@v2", "text", "have no revisions"),
    ],
)
def test_refuses_in_one_line(uri, modality, words, load):
    with pytest.raises(InputError) as raised:
        load(uri, modality)
    assert words in str(raised.value)
