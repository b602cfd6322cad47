import json

import pytest

from extract.encoders.describe import check_lines, list_lines, show_lines
from extract.errors import InputError


def test_the_list_is_a_line_an_encoder():
    line, options = list_lines("audio", "packaged")
    assert options.startswith("options of packaged: window=")
    assert line.split(maxsplit=2)[:2] == ["packaged:whisper-tiny-en", "audio"]
    assert "English speech only" in line
    with pytest.raises(InputError, match="no listed encoder for text matches 'xyz'"):
        list_lines("text", "xyz")


def test_show_says_what_the_vectors_are(tiny):
    uri = f"hf:{tiny('clip')}"
    shown = "\n".join(show_lines(uri, "text", "cpu"))
    assert "modalities: image, text\nshown as an encoder of: text\ndim: 24\nspace: hf:" in shown
    fingerprint = json.loads(shown.partition("fingerprint: ")[2])
    assert fingerprint["preprocessing"]["max_length"] == 24
    assert "shown as an encoder of: image" in show_lines(uri, None, "cpu")
    with pytest.raises(InputError, match="the model encodes image and text, not audio"):
        show_lines(uri, "audio", "cpu")


def test_check_runs_every_tower(tiny):
    lines, passed = check_lines(f"hf:{tiny('clip')}", "cpu")
    assert passed
    assert {line.split()[1] for line in lines if ":" in line} == {"image:", "text:"}
    assert all(line.startswith("ok ") for line in lines)


def test_check_names_what_fails(tmp_path, monkeypatch):
    (tmp_path / "zeros_encoder.py").write_text(
        "import torch\n"
        "from extract import Encoder\n"
        "class Zeros(Encoder):\n"
        "    modalities = ('text', 'image')\n"
        "    dim, space = 2, 'zeros'\n"
        "    def preprocess(self, raw): return None\n"
        "    def encode(self, batch): return torch.zeros(len(batch), 2)\n"
        "    def fingerprint(self): return {'constant': 0}\n"
    )
    monkeypatch.chdir(tmp_path)
    lines, passed = check_lines("zeros_encoder:Zeros", "cpu")
    assert not passed
    failed = [line for line in lines if line.startswith("FAILED")]
    assert failed == [
        f"FAILED  {modality}: distinct: four unlike media gave one and the same vector"
        for modality in ("text", "image")
    ]
