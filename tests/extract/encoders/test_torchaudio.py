import json

import numpy as np
import pytest
import torch
import torchaudio
from safetensors.torch import load_file, save_file

from extract.encoders.base import Waveform
from extract.encoders.torchaudio import bundles
from extract.errors import InputError


@pytest.fixture
def speech_uri(tiny):
    folder = tiny("speech")
    return (
        f"torchaudio:wav2vec2_model?config={folder}/config.json"
        f"&weights={folder}/weights.safetensors"
    )


@pytest.fixture
def model(tiny):
    folder = tiny("speech")
    config = json.loads((folder / "config.json").read_text())
    built = torchaudio.models.wav2vec2_model(**config).eval()
    built.load_state_dict(load_file(folder / "weights.safetensors"))
    return built


def waves(sounds):
    resample = torchaudio.functional.resample
    return [resample(torch.from_numpy(s.samples), s.sample_rate, 16_000) for s in sounds]


def test_vectors_equal_the_librarys(model, speech_uri, load, encode, raws):
    with torch.inference_mode():
        last = [model(wave.unsqueeze(0))[0][0] for wave in waves(raws["audio"])]
        layers = [model.extract_features(wave.unsqueeze(0))[0] for wave in waves(raws["audio"])]
    first, second = ([layer[k][0] for layer in layers] for k in (0, 1))

    def vectors(query):
        return encode(load(speech_uri + query, "audio"), raws["audio"])

    def same(actual, expected):
        torch.testing.assert_close(actual, torch.stack(expected), rtol=0, atol=1e-5)

    same(vectors(""), [frames.mean(0) for frames in last])
    same(vectors("&pooling=max"), [frames.amax(0) for frames in last])
    same(vectors("&layer=1"), [frames.mean(0) for frames in first])
    same(vectors("&layer=-1"), [frames.mean(0) for frames in second])
    both = [torch.cat([b.mean(0), a.mean(0)]) for a, b in zip(first, second, strict=True)]
    same(vectors("&layer=2,1"), both)
    fingerprint = load(f"{speech_uri}&layer=2,1", "audio").fingerprint()
    assert fingerprint["layer"] == [2, 1]
    assert fingerprint["layers"] == [["2", 32], ["1", 32]]
    assert "layers" not in load(f"{speech_uri}&layer=2", "audio").fingerprint()


def test_large_models_get_each_window_normalised(model, tiny, load, encode, raws, tmp_path):
    config = json.loads((tiny("speech") / "config.json").read_text())
    (tmp_path / "c.json").write_text(json.dumps(config | {"normalize_waveform": True}))
    weights = tiny("speech") / "weights.safetensors"
    uri = f"torchaudio:wav2vec2_model?config={tmp_path}/c.json&weights={weights}"
    expected = []
    with torch.inference_mode():
        for wave in waves(raws["audio"]):
            normalised = (wave - wave.mean()) / (wave.var(correction=0) + 1e-5).sqrt()
            expected.append(model(normalised.unsqueeze(0))[0][0].mean(0))

    vectors = encode(load(uri, "audio"), raws["audio"])

    torch.testing.assert_close(vectors, torch.stack(expected), rtol=0, atol=1e-5)


def test_windows_of_unequal_length_never_share_a_pass(model, speech_uri, load, encode, raws):
    sound = raws["audio"][1]  # 1.3 s
    wave = torch.from_numpy(sound.samples)
    with torch.inference_mode():
        whole = model(wave[:16_000].unsqueeze(0))[0][0].mean(0)
        rest = model(wave[16_000:].unsqueeze(0))[0][0].mean(0)
    expected = (whole * 16_000 + rest * 4_800) / 20_800

    vectors = encode(load(f"{speech_uri}&window=1", "audio"), raws["audio"])

    torch.testing.assert_close(vectors[1], expected, rtol=0, atol=1e-5)


def test_ten_milliseconds_of_sound_work(speech_uri, load, encode):
    sound = Waveform(np.linspace(-0.5, 0.5, 160, dtype=np.float32), 16_000)
    assert torch.isfinite(encode(load(speech_uri, "audio"), [sound])).all()


def test_a_bundle_takes_its_weights_from_a_file(monkeypatch, tmp_path, tiny, load, encode, raws):
    # A bundle of our size: the library has none under 90 million weights.
    config = json.loads((tiny("speech") / "config.json").read_text())
    bundle = torchaudio.pipelines.Wav2Vec2Bundle("tiny.pth", config, 16_000, False, "Wav2Vec2")
    monkeypatch.setattr(torchaudio.pipelines, "TINY", bundle, raising=False)
    state = load_file(tiny("speech") / "weights.safetensors")
    # As published for speech recognition: with a layer from the last features to letters.
    save_file({**state, "aux.weight": torch.zeros(29, 32)}, tmp_path / "w.safetensors")
    own = (
        f"torchaudio:wav2vec2_model?config={tiny('speech')}/config.json"
        f"&weights={tiny('speech')}/weights.safetensors"
    )

    encoder = load(f"torchaudio:TINY?weights={tmp_path}/w.safetensors", "audio")

    expected = encode(load(own, "audio"), raws["audio"])
    assert torch.equal(encode(encoder, raws["audio"]), expected)
    with pytest.raises(InputError, match="config= belongs to wav2vec2_model and wavlm_model"):
        load("torchaudio:TINY?config=c.json", "audio")


def test_every_bundle_names_an_architecture_that_we_build():
    found = bundles()
    assert {"WAV2VEC2_BASE", "HUBERT_BASE", "WAVLM_BASE", "WAV2VEC2_XLSR53"} <= set(found)
    for bundle in found.values():
        assert bundle._model_type in ("Wav2Vec2", "WavLM")
        assert {"extractor_conv_layer_config", "encoder_num_layers"} <= set(bundle._params)
        assert isinstance(bundle._normalize_waveform, bool)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("WAV2VEC_BASE", "no such bundle (did you mean 'WAV2VEC2_BASE'?)"),
        ("WAV2VEC2_BASE?weights=best", "weights=best is unknown"),
        ("WAV2VEC2_BASE?weights=none.pth", "none.pth: no such file"),
        ("WAV2VEC2_BASE@v1", "have no revisions"),
        ("WAV2VEC2_BASE?length=1", "unknown option 'length'"),
        ("WAV2VEC2_BASE?window=0.01", "must reach 0.025 s"),
        ("wav2vec2_model", "add config=FILE.json"),
        ("wav2vec2_model?config=none.json", "none.json: no such file"),
        (
            "wav2vec2_model?config={empty}",
            "must hold the arguments of torchaudio.models.wav2vec2_model",
        ),
        ("wav2vec2_model?config={config}", "only bundles can be downloaded"),
        ("wav2vec2_model?config={wrong}&weights=random", "cannot be loaded (TypeError"),
        (
            "wav2vec2_model?config={config}&weights=random&layer=1,-2",
            "1 and -2 are the same layer",
        ),
        (
            "wav2vec2_model?config={config}&weights=random&layer=0",
            "layer=0: the model has layers 1 to 2",
        ),
        (
            "wav2vec2_model?config={config}&weights=random&layer=3",
            "layer=3: the model has layers 1 to 2",
        ),
        ("wav2vec2_model?config={config}&weights=random&pooling=cls", "pooling=cls is unknown"),
    ],
)
def test_refuses_in_one_line(query, words, tiny, tmp_path, load):
    config = tiny("speech") / "config.json"
    empty, wrong = tmp_path / "empty.json", tmp_path / "wrong.json"
    empty.write_text("{}")
    wrong.write_text(json.dumps(json.loads(config.read_text()) | {"heads": 2}))
    with pytest.raises(InputError) as raised:
        load("torchaudio:" + query.format(config=config, empty=empty, wrong=wrong), "audio")
    assert words in str(raised.value)


def test_weights_of_another_size_are_refused(tiny, load, tmp_path):
    folder = tiny("speech")
    config = json.loads((folder / "config.json").read_text())
    (tmp_path / "c.json").write_text(json.dumps(config | {"encoder_ff_interm_features": 48}))
    with pytest.raises(InputError, match="has in another shape 6 tensors"):
        load(
            f"torchaudio:wav2vec2_model?config={tmp_path}/c.json&weights={folder}/weights.safetensors",
            "audio",
        )
