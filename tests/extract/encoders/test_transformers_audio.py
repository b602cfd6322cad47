import numpy as np
import pytest
import torch
from torchaudio.functional import resample
from transformers import AutoFeatureExtractor, AutoModel

from extract.encoders.base import Waveform


def samples(sound):
    return resample(torch.from_numpy(sound.samples), sound.sample_rate, 16_000).numpy()


def direct(folder, sounds, read):
    """The library alone: resampler, feature extractor and model, sound by sound."""
    model = AutoModel.from_pretrained(folder).eval()
    extractor = AutoFeatureExtractor.from_pretrained(folder)
    rows = []
    with torch.inference_mode():
        for sound in sounds:
            wave = samples(sound)
            inputs = extractor(wave, sampling_rate=16_000, return_tensors="pt")
            rows.append(read(model, inputs, len(wave)))
    return torch.cat(rows)


def whisper_frames(model, inputs, n):
    # The network halves the frames of 10 ms: a position stands for 320 samples.
    return model.encoder(**inputs).last_hidden_state[:, : -(-n // 320)].mean(1)


@pytest.mark.parametrize(
    ("name", "query", "read"),
    [
        ("wav2vec2", "", lambda m, x, n: m(**x).last_hidden_state.mean(1)),
        ("wav2vec2", "?pooling=max", lambda m, x, n: m(**x).last_hidden_state.amax(1)),
        (
            "wav2vec2",
            "?layer=0",
            lambda m, x, n: m(**x, output_hidden_states=True).hidden_states[0].mean(1),
        ),
        (
            "wavlm",
            "?layer=2,0",
            lambda m, x, n: torch.cat(
                [m(**x, output_hidden_states=True).hidden_states[i].mean(1) for i in (2, 0)], dim=1
            ),
        ),
        ("hubert", "", lambda m, x, n: m(**x).last_hidden_state.mean(1)),
        ("wav2vec2_layer_norm", "", lambda m, x, n: m(**x).last_hidden_state.mean(1)),
        ("ast", "", lambda m, x, n: m(**x).pooler_output),
        ("ast", "?pooling=cls", lambda m, x, n: m(**x).last_hidden_state[:, 0]),
        ("whisper", "", whisper_frames),
        ("clap", "", lambda m, x, n: m.get_audio_features(**x).pooler_output),
    ],
)
def test_vectors_equal_the_librarys(name, query, read, tiny, load, encode, raws):
    folder = tiny(name)
    # AST and CLAP take .65 s and 1 s here: sounds of one window.
    sounds = [s for s in raws["audio"] if len(s.samples) / s.sample_rate < 0.6]
    if name in ("wav2vec2", "whisper", "hubert", "wavlm"):
        sounds += [s for s in raws["audio"] if 0.6 < len(s.samples) / s.sample_rate < 2]
    expected = direct(folder, sounds, read)

    encoder = load(f"hf:{folder}{query}", "audio")

    assert encoder.dim == expected.shape[1]
    torch.testing.assert_close(encode(encoder, sounds), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("name", "seconds"), [("whisper", 2.0), ("clap", 1.0), ("wav2vec2", 10.0)])
def test_the_window_is_what_the_model_takes(name, seconds, tiny, load):
    windows = load(f"hf:{tiny(name)}", "audio").fingerprint()["windows"]
    assert windows == {"sample_rate": 16_000, "window": seconds, "hop": seconds}


def test_a_longer_sound_is_the_mean_of_its_windows_by_their_length(tiny, load, encode, raws):
    folder = tiny("wav2vec2")
    long = raws["audio"][3]  # 2.6 s at 22,050 Hz
    wave = samples(long)
    pieces = [wave[0:16_000], wave[12_000:28_000], wave[24_000:40_000], wave[36_000:]]
    parts = direct(
        folder,
        [Waveform(piece, 16_000) for piece in pieces],
        lambda m, x, n: m(**x).last_hidden_state.mean(1),
    )
    weights = torch.tensor([[float(len(piece))] for piece in pieces])
    expected = (parts * weights).sum(0, keepdim=True) / weights.sum()

    encoder = load(f"hf:{folder}?window=1&hop=0.75", "audio")

    torch.testing.assert_close(encode(encoder, [long]), expected, rtol=0, atol=1e-5)


def test_what_lies_beyond_whispers_sound_does_not_count(tiny, load, encode):
    # Without the mask, a short sound's vector would be mostly that of the silence behind it.
    encoder = load(f"hf:{tiny('whisper')}", "audio")
    rng = np.random.default_rng(0)
    wave = (0.3 * rng.standard_normal(8_000)).astype(np.float32)
    with torch.inference_mode():
        prepared = encoder.preprocess(Waveform(wave, 16_000))
        hidden = encoder.model(prepared.windows[0]["input_features"].unsqueeze(0))
    frames = hidden.last_hidden_state[0]
    vector = encode(encoder, [Waveform(wave, 16_000)])[0]
    torch.testing.assert_close(vector, frames[:25].mean(0), rtol=0, atol=1e-5)
    assert not torch.allclose(vector, frames.mean(0), atol=1e-3)


@pytest.mark.parametrize("name", ["wav2vec2", "wav2vec2_layer_norm", "whisper", "ast", "clap"])
def test_ten_milliseconds_of_sound_work(name, tiny, load, encode):
    sound = Waveform(np.linspace(-0.5, 0.5, 160, dtype=np.float32), 16_000)
    vectors = encode(load(f"hf:{tiny(name)}", "audio"), [sound])
    assert torch.isfinite(vectors).all()


def test_a_sound_without_samples_is_named(tiny, load):
    encoder = load(f"hf:{tiny('wav2vec2')}", "audio")
    with pytest.raises(ValueError, match="no samples"):
        encoder.preprocess(Waveform(np.zeros(0, dtype=np.float32), 16_000))
