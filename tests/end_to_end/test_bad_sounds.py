"""Sounds that are damaged, rare, very short or very long, in one catalogue with good ones."""

import io
import wave
from pathlib import Path

import numpy as np
import soundfile
import torch
from torchaudio.functional import resample
from torchaudio.transforms import MelSpectrogram


def tone(seconds: float, rate: int = 16_000, hertz: float = 440.0) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


def write_wave(path: Path, samples: np.ndarray, rate: int = 16_000) -> None:
    """Integers as they are: (n,) or (n, channels) uint8 or int16."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1 if samples.ndim == 1 else samples.shape[1])
        file.setsampwidth(samples.itemsize)
        file.setframerate(rate)
        file.writeframes(samples.tobytes())


def mel_statistics(samples: np.ndarray, rate: int = 16_000) -> np.ndarray:
    """Mean and deviation over time of log(1e-6 + mel power), 1024 samples every 256 at 16 kHz."""
    heard = resample(torch.tensor(samples, dtype=torch.float32), rate, 16_000)
    bands = MelSpectrogram(16_000, 1024, hop_length=256, n_mels=64, pad_mode="constant")(heard)
    logarithms = torch.log(1e-6 + bands).double().numpy()
    return np.concatenate([logarithms.mean(axis=1), logarithms.std(axis=1)])


def save_sounds(folder: Path) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    """Unusual sounds that are usable: their names, and the vectors of what they hold."""
    eight = np.rint(128 + 120 * tone(1)).astype(np.uint8)
    write_wave(folder / "eight_bits.wav", eight)

    fast = np.rint(32767 * tone(1, 96_000)).astype(np.int16)
    write_wave(folder / "fast.wav", fast, 96_000)

    pitches = [tone(1, hertz=300 * (n + 1)) * 30_000 for n in range(6)]
    six = np.rint(np.stack(pitches, axis=1)).astype(np.int16)
    write_wave(folder / "six.wav", six)

    short = np.rint(32767 * tone(0.01)).astype(np.int16)
    write_wave(folder / "short.wav", short)

    long = np.rint(32767 * tone(600, 8_000)).astype(np.int16)
    write_wave(folder / "long.wav", long, 8_000)
    write_wave(folder / "longer.wav", np.append(long, np.int16(1)), 8_000)

    vectors = {
        "eight_bits.wav": mel_statistics((eight - 128.0) / 128),
        "fast.wav": mel_statistics(fast / 32768, 96_000),
        "six.wav": mel_statistics(six.mean(axis=1) / 32768),
        "short.wav": mel_statistics(short / 32768),
        "long.wav": mel_statistics(long / 32768, 8_000),
    }
    return {name: name for name in vectors}, vectors


def test_bad_sounds_beside_good_ones(shop, table, compare):
    soundfile.write(shop / "low.wav", tone(1, hertz=200), 16_000)
    soundfile.write(shop / "high.flac", tone(1, hertz=2000), 16_000)
    good = {"low": "low.wav", "high": "high.flac"}
    unusual, vectors = save_sounds(shop)

    holed = tone(1)
    holed[7] = np.nan
    soundfile.write(shop / "nan.wav", holed, 16_000, subtype="FLOAT")
    (shop / "zero.wav").touch()
    header = (shop / "six.wav").read_bytes()
    assert header[22:24] == b"\6\0"
    (shop / "broken.wav").write_bytes(header[:22] + b"\0\0" + header[24:])
    whole = io.BytesIO()
    soundfile.write(whole, tone(4, 44_100), 44_100, format="MP3")
    half = len(whole.getvalue()) // 2
    (shop / "cut.mp3").write_bytes(whole.getvalue()[:half])
    reasons = {
        "nan.wav": "sound with NaN or infinite samples",
        "zero.wav": "empty file",
        "longer.wav": "sound too long (more than 600 seconds)",
        "broken.wav": "sound cannot be decoded (Channel count is zero)",
        "cut.mp3": f"sound cut short ({len(whole.getvalue()) - half} bytes are missing)",
    }

    media = {"low": "low.wav"} | {name: name for name in reasons} | unusual
    media |= {"no sound": None, "high": "high.flac"}
    expected = {item: reasons.get(item) for item in media}
    expected["no sound"] = "no value in the table"
    found = compare(
        *(table("all.jsonl", "audio", media), table("good.jsonl", "audio", good), expected),
        *("--modality", "audio", "--encoder", "melstats:64", "--max-seconds", 600),
    )
    for item, vector in vectors.items():
        np.testing.assert_allclose(found.vectors[item], vector, atol=2e-3, err_msg=item)
    # Resampled or not, a tone is as loud in the band where it is loudest.
    same = mel_statistics(tone(1))
    loudest = same[:64].argmax()
    for item in ("fast.wav", "long.wav"):
        assert found.vectors[item][:64].argmax() == loudest
        assert abs(found.vectors[item][loudest] - same[loudest]) < 0.2
