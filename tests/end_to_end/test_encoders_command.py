"""`cli.py encoders`, as a person would run it."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"

import sys

import pytest

import cli


@pytest.fixture
def encoders(capsys):
    """Runs ``encoders`` and gives exit code, standard output and standard error."""

    def run(*arguments):
        with pytest.raises(SystemExit) as stop:
            cli.run(cli.app, ["encoders", *arguments])
        printed = capsys.readouterr()
        return int(stop.value.code or 0), printed.out, printed.err

    return run


def test_list(encoders):
    code, out, err = encoders("list", "--modality", "audio", "packaged")
    assert (code, err) == (0, "")
    assert out.startswith("packaged:whisper-tiny-en  audio")
    assert out.splitlines()[1:] == [
        "options of packaged: window=SECONDS, hop=SECONDS (audio), chunk=TOKENS, overlap=TOKENS"
        " (text)"
    ]
    code, out, _ = encoders("list")
    assert code == 0
    assert len(out.splitlines()) > 100


def test_show(encoders):
    code, out, err = encoders("show", "melstats:64")
    assert (code, err) == (0, "")
    assert "dim: 128\nspace: melstats:64\n" in out
    assert "options: none\n" in out


def test_check_of_the_example_passes(encoders):
    code, out, err = encoders("check", "examples.custom_encoder:ColourHistogram?bins=3")
    assert (code, err) == (0, "")
    assert "ok      image: batch equals single\n" in out


def test_check_of_a_broken_class_fails(encoders, tmp_path, monkeypatch):
    (tmp_path / "by_batch.py").write_text(
        "import torch\n"
        "from extract import Encoder\n"
        "class ByBatch(Encoder):\n"
        "    modalities = ('text',)\n"
        "    dim, space = 1, 'x'\n"
        "    def preprocess(self, raw): return float(len(raw))\n"
        "    def encode(self, batch): return torch.tensor([[v - max(batch)] for v in batch])\n"
        "    def fingerprint(self): return {'x': 1}\n"
    )
    monkeypatch.chdir(tmp_path)
    code, out, _ = encoders("check", "by_batch:ByBatch")
    sys.modules.pop("by_batch")
    assert code == 2
    assert "FAILED  text: batch equals single: vectors from a batch and from single calls" in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["list", "no-such-thing"], "no listed encoder matches 'no-such-thing'"),
        (["show", "resnet18"], "not an encoder URI"),
        (["show", "torchvison:resnet18"], "did you mean 'torchvision'?"),
        (["show", "packaged:minilm", "--modality", "image"], "it encodes text, not image"),
        (["show", "melstats:64", "--device", "gpu"], "unknown device"),
        (["check", "no_such_module:Class"], "nor a module that can be imported from here"),
    ],
)
def test_what_is_wrong_is_one_line_and_exit_code_two(arguments, words, encoders):
    code, out, err = encoders(*arguments)
    assert (code, out) == (2, "")
    assert words in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("lines", "command", "words"),
    [
        ("modalities = ()", "check", "its modalities must be a tuple"),
        ("modalities = None", "show", "its modalities must be a tuple"),
        ("def __init__(self): raise SystemExit(0)", "check", "called sys.exit(0)"),
        ("def fingerprint(self): return {'a': {1}}", "show", "its fingerprint() gives no JSON"),
        ("def fingerprint(self): return {}['a']", "show", "its fingerprint() gives no JSON"),
    ],
)
def test_classes_that_break_the_rules(lines, command, words, encoders, tmp_path, monkeypatch):
    (tmp_path / "rule_breaker.py").write_text(
        "import torch\n"
        "from extract import Encoder\n"
        "class Own(Encoder):\n"
        "    modalities, dim, space = ('text',), 1, 'x'\n"
        "    def preprocess(self, raw): return raw\n"
        "    def encode(self, batch): return torch.ones(len(batch), 1)\n"
        "    def fingerprint(self): return {'x': 1}\n"
        f"    {lines}\n"
    )
    monkeypatch.chdir(tmp_path)
    code, out, err = encoders(command, "rule_breaker:Own")
    sys.modules.pop("rule_breaker")
    assert (code, out) == (2, "")
    assert words in err
    assert err.count("\n") == 1
