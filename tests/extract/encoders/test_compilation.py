import importlib.util
import os
import shutil
import subprocess
import sys

import pytest
import torch
from torch._dynamo.utils import counters

from extract.encoders.base import Encoder
from extract.encoders.compilation import compile_encoder
from extract.errors import InputError

needs_compiler = pytest.mark.skipif(
    shutil.which(os.environ.get("CXX", "g++")) is None, reason="no C++ compiler here"
)


class Doubles(Encoder):
    """Texts to their length, twice as long, by a network."""

    modalities = ("text",)
    dim = 2
    space = "doubles"

    def __init__(self):
        linear = torch.nn.Linear(1, 2)
        torch.nn.init.constant_(linear.weight, 2.0)
        torch.nn.init.zeros_(linear.bias)
        self.model = torch.nn.Sequential(linear, torch.nn.ReLU())

    def preprocess(self, raw):
        return float(len(raw))

    def encode(self, batch):
        return self.model(torch.tensor(batch).unsqueeze(1))

    def fingerprint(self):
        return {"factor": 2}


@needs_compiler
def test_compiled_code_gives_the_networks_vectors():
    torch.compiler.reset()
    counters.clear()
    encoder = Doubles()
    compile_encoder(encoder, "text")
    assert counters["stats"]["unique_graphs"] > 0
    with torch.inference_mode():
        vectors = encoder.encode([1.0, 2.0, 3.0])
    torch.testing.assert_close(vectors, torch.tensor([[2.0, 2.0], [4.0, 4.0], [6.0, 6.0]]))


FAMILIES = [
    ("hf:{vit}", "image"),
    ("hf:{clip}", "image"),
    ("hf:{clip}", "text"),
    ("hf:{clip}?pooling=mean", "text"),
    ("hf:{bert}?layer=1,2", "text"),
    ("hf:{qwen3}", "text"),
    ("hf:{whisper}", "audio"),
    ("st:{sentence}", "text"),
    ("st:{sentence}?chunk=9", "text"),
    ("timm:test_vit?weights=random", "image"),
    ("timm:test_vit?weights=random&layer=1,2", "image"),
    ("torchvision:squeezenet1_1?weights=random", "image"),
    ("torchvision:squeezenet1_1?weights=random&layer=features.3,features.6", "image"),
    ("torchaudio:{speech}", "audio"),
    ("torchaudio:{speech}&layer=1", "audio"),
]


@pytest.mark.parametrize(("template", "modality"), FAMILIES, ids=[f"{u}-{m}" for u, m in FAMILIES])
def test_every_familys_network_is_what_is_compiled(
    template, modality, tiny, load, encode, raws, monkeypatch
):
    # Traced, but run by PyTorch: making C++ of a whole network takes half a minute.
    original, asked = torch.nn.Module.compile, []

    def traced(module, **options):
        asked.append(options)
        original(module, backend="eager", **options)

    monkeypatch.setattr(torch.nn.Module, "compile", traced)
    name = template.partition("{")[2].partition("}")[0]
    folder = str(tiny(name)) if name else ""
    if name == "speech":
        folder = f"wav2vec2_model?config={folder}/config.json&weights={folder}/weights.safetensors"
    uri = template.replace(f"{{{name}}}", folder)
    media = raws[modality][:2]
    expected = encode(load(uri, modality), media)
    torch.compiler.reset()
    counters.clear()

    encoder = load(uri, modality).compile()

    vectors = encode(encoder, media)
    assert set(map(str, asked)) == {"{'dynamic': True}"}
    # Most of a network: its attention or convolutions are far more than ten operations.
    assert counters["stats"]["calls_captured"] > 10
    torch.testing.assert_close(vectors, expected, rtol=1e-4, atol=1e-4 * expected.abs().max())


def test_what_holds_no_network_is_refused(load):
    for uri, modality in (("melstats:64", "audio"), ("packaged:whisper-tiny-en", "audio")):
        with pytest.raises(InputError, match="holds no network of PyTorch's to compile"):
            compile_encoder(load(uri, modality), modality)


def test_a_network_that_cannot_be_compiled_is_one_line(monkeypatch):
    def broken(module, **options):
        def fail(*inputs):
            raise torch._dynamo.exc.TorchDynamoException("no way\nfor developers: ...")

        module._compiled_call_impl = fail

    monkeypatch.setattr(torch.nn.Module, "compile", broken)
    with pytest.raises(InputError) as raised:
        compile_encoder(Doubles(), "text")
    message = str(raised.value)
    assert message.startswith("--compile: PyTorch cannot compile this encoder here")
    assert "(TorchDynamoException: no way)" in message
    assert "leave --compile out" in message
    assert "\n" not in message


def test_without_a_compiler_it_is_said_before_any_item_is_read(tmp_path):
    table = tmp_path / "items.csv"
    table.write_text("item_id,text\na,red\n")
    code = (
        "import sys, importlib.util as u\n"
        "spec = u.spec_from_file_location('doubles', sys.argv[1])\n"
        "module = u.module_from_spec(spec); spec.loader.exec_module(module)\n"
        "import extract\n"
        "config = extract.ExtractionConfig(items=sys.argv[2], modality='text', out=sys.argv[3],\n"
        "    device='cpu', compile=True)\n"
        "try: extract.run(config, encoder=module.Doubles())\n"
        "except extract.InputError as error: print(error)\n"
    )
    assert importlib.util.find_spec("extract") is not None
    environment = {
        **os.environ,
        "CXX": str(tmp_path / "no-compiler"),
        "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache"),
        "TORCHINDUCTOR_FORCE_DISABLE_CACHES": "1",
    }
    result = subprocess.run(
        [sys.executable, "-c", code, __file__, str(table), str(tmp_path / "store")],
        capture_output=True,
        text=True,
        env=environment,
        check=True,
    )
    lines = result.stdout.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("--compile: PyTorch cannot compile this encoder here")
    assert not (tmp_path / "store").exists()
