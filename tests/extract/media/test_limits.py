"""What hostile and large media cost: memory under a limit, and nothing but reasons beyond it."""

import io
import json
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from extract.media.image import DECODING_BYTES, MAX_PIXELS

ROOT = Path(__file__).parents[3]
MIB = 2**20
SIDE = 2400
SAMPLES = 6_000_000

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS is Linux's")

# Each limit in a process of its own: nothing that one has given back serves the next.
LIMITED = """
import io, json, os, resource, sys, warnings
from pathlib import Path
from PIL import Image
from extract.media.audio import decode_audio
from extract.media.files import MediaError
from extract.media.image import decode_image
warnings.simplefilter("ignore")
folder, *limits = sys.argv[1:]
small = io.BytesIO()
Image.new("RGB", (8, 8)).save(small, "AVIF")
decode_image(small)  # libraries are loaded now
for limit in map(int, limits):
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        if status:
            sys.exit(f"died of {status}")
        continue
    results = {}
    used = 1024 * int(Path("/proc/self/status").read_text().split("VmSize:")[1].split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (used + limit, used + limit))
    for path in sorted(Path(folder).iterdir()):
        with path.open("rb") as handle:
            try:
                if path.stem == "sound":
                    results[path.stem] = len(decode_audio(handle, 600).samples)
                else:
                    results[path.stem] = decode_image(handle).size
            except MediaError as reason:
                results[path.stem] = str(reason)
    print(json.dumps(results), flush=True)
    os._exit(0)
"""


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def webp_canvas(side: int) -> bytes:
    """An animation of one small frame; the decoder holds two canvases."""
    small = io.BytesIO()
    Image.new("RGB", (16, 16)).save(small, "WEBP")
    sizes = [struct.pack("<I", n)[:3] for n in (side - 1, 15)]
    body = bytes(6) + sizes[1] * 2 + bytes(4) + small.getvalue()[12:]
    data = b"WEBPVP8X" + struct.pack("<I", 10) + b"\2\0\0\0" + sizes[0] * 2
    data += b"ANIM" + struct.pack("<IIH", 6, 0, 0) + b"ANMF" + struct.pack("<I", len(body)) + body
    return b"RIFF" + struct.pack("<I", len(data)) + data


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> list[dict[str, object]]:
    """What becomes of each file: with the memory that is stated, and with 8 MiB."""
    folder = tmp_path_factory.mktemp("large")
    exif = Image.Exif()
    exif[0x0112] = 6
    rgb = Image.new("RGB", (SIDE, SIDE), "red")
    rgb.convert("RGBA").save(folder / "alpha.png")
    Image.fromarray(np.zeros((SIDE, SIDE), np.uint16)).save(folder / "deep.png")
    rgb.convert("P").save(folder / "palette.png", transparency=0)
    rgb.save(folder / "turned.jpg", exif=exif)
    rgb.save(folder / "progressive.jpg", progressive=True)
    rgb.save(folder / "deflated.tif", compression="tiff_deflate")
    rgb.save(folder / "jpeg2000.jp2")
    rgb.save(folder / "avif.avif", speed=10)
    (folder / "canvas.webp").write_bytes(webp_canvas(SIDE))
    Image.new("RGB", (8, 8)).save(folder / "bomb.png")
    bomb = (folder / "bomb.png").read_bytes()
    text = chunk(b"zTXt", b"key\0\0" + zlib.compress(bytes(100_000_000)))
    (folder / "bomb.png").write_bytes(bomb[:33] + text + bomb[33:])
    soundfile.write(folder / "sound.flac", np.full(SAMPLES, 0.1, np.float32), 48000)
    # So many bytes a pixel, and what the libraries need anyway.
    stated = DECODING_BYTES // MAX_PIXELS * SIDE**2 + 24 * MIB
    command = [sys.executable, "-c", LIMITED, str(folder), str(stated), str(8 * MIB)]
    run = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=300
    )
    assert run.returncode == 0, run.stderr
    assert "Traceback" not in run.stderr
    return [json.loads(line) for line in run.stdout.splitlines()]


def test_decoding_takes_no_more_memory_than_stated(results):
    enough = dict(results[0])
    assert enough.pop("sound") == SAMPLES
    assert enough.pop("bomb") == [8, 8]
    assert all(size == [SIDE, SIDE] for size in enough.values())
    assert len(enough) == 9


def test_memory_that_runs_out_is_a_reason_and_ends_nothing(results):
    little = dict(results[1])
    assert little.pop("bomb") == [8, 8]
    assert little.pop("sound") == "out of memory while decoding the sound"
    # Three libraries do not say why they give up.
    for name in ("jpeg2000", "avif", "canvas"):
        assert isinstance(little.pop(name), str)
    assert little == dict.fromkeys(little, "out of memory while decoding the picture")
    assert len(little) == 6
