import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from extract.encoders.transformers import modalities
from extract.encoders.uri import parse_uri
from extract.errors import InputError


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("bert", ("text",)),
        ("gpt2", ("text",)),
        ("vit", ("image",)),
        ("convnext", ("image",)),
        ("clip", ("image", "text")),
        ("siglip", ("image", "text")),
        ("wav2vec2", ("audio",)),
        ("whisper", ("audio",)),
        ("ast", ("audio",)),
        ("clap", ("text", "audio")),
        ("siglip2", ("image", "text")),
        ("dinov3", ("image",)),
        ("wavlm", ("audio",)),
        ("qwen3", ("text",)),
    ],
)
def test_modalities_are_read_from_the_configuration(name, expected, tiny):
    assert modalities(parse_uri(f"hf:{tiny(name)}")) == expected


@pytest.mark.parametrize(
    ("uri", "modality", "words"),
    [
        ("hf:./nowhere", "text", "no such folder"),
        ("hf:nobody/nothing", "text", "cannot be loaded"),
        ("hf:nobody/nothing@v2", "image", "cannot be loaded"),
        ("hf:{bert}?window=2", "text", "unknown option 'window'"),
        ("hf:{bert}?max_length=3", "image", "unknown option 'max_length'"),
        ("hf:{bert}", "image", "the model encodes text, not image"),
        ("hf:{vit}", "text", "the model encodes image, not text"),
        ("hf:{clip}", "audio", "the model encodes image and text, not audio"),
        ("hf:{bert}?pooling=median", "text", "pooling=median is unknown"),
        ("hf:{bert}?layer=3", "text", "layer=3: the model has hidden states 0 to 2"),
        ("hf:{bert}?layer=-4", "text", "layer=-4: the model has hidden states 0 to 2"),
        ("hf:{bert}?layer=1,3", "text", "layer=3: the model has hidden states 0 to 2"),
        ("hf:{bert}?layer=1,-2", "text", "1 and -2 are the same layer"),
        ("hf:{bert}?layer=x", "text", "layer=x is not a whole number"),
        ("hf:{bert}?chunk=41", "text", "chunk=41: the model takes up to 40 tokens"),
        ("hf:{bert}?overlap=4", "text", "overlap= needs chunk="),
        ("hf:{bert}?chunk=9&max_length=9", "text", "max_length= cuts texts"),
        ("hf:{vit}?chunk=9", "image", "unknown option 'chunk'"),
        ("hf:{vit}?prefix=x", "image", "unknown option 'prefix'"),
        ("hf:{bert}?max_length=41", "text", "max_length=41: the model takes 1 to 40 tokens"),
        ("hf:{bert}?max_length=0", "text", "max_length=0: the model takes 1 to 40 tokens"),
        ("hf:{bert}?weights=best", "text", "weights=best is unknown"),
        ("hf:{bert}?trust_remote_code=yes", "text", "trust_remote_code=yes is unknown"),
        ("hf:{vit}?pooling=pooler", "image", "no trained pooler"),
        ("hf:{convnext}?pooling=pooler&layer=1", "image", "leave layer= out"),
        ("hf:{whisper}?window=3", "audio", "window=3 is longer than the model's input of 2 s"),
    ],
)
def test_refuses_in_one_line(uri, modality, words, tiny, load):
    name = uri.partition("{")[2].partition("}")[0]
    uri = uri.format_map({name: tiny(name)} if name else {})
    with pytest.raises(InputError) as raised:
        load(uri, modality)
    assert words in str(raised.value)


def test_a_checkpoint_that_lacks_weights_is_refused(tiny, tmp_path, load):
    folder = tmp_path / "model"
    shutil.copytree(tiny("bert"), folder)
    state = load_file(folder / "model.safetensors")
    lost = "encoder.layer.1.output.dense.weight"
    del state[lost]
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match=f"the checkpoint lacks 1 weights, the first '{lost}'"):
        load(f"hf:{folder}", "text")


def test_pickled_weights_are_refused(tiny, tmp_path, load):
    folder = tmp_path / "model"
    shutil.copytree(tiny("bert"), folder)
    weights = folder / "model.safetensors"
    torch.save(load_file(weights), folder / "pytorch_model.bin")
    weights.unlink()
    with pytest.raises(InputError, match=r"cannot be loaded \(OSError: .*model\.safetensors"):
        load(f"hf:{folder}", "text")


@pytest.fixture
def with_code(tiny, tmp_path):
    """A model whose folder asks to run its author's code, which leaves a mark."""
    folder = tmp_path / "model"
    shutil.copytree(tiny("bert"), folder)
    config = json.loads((folder / "config.json").read_text())
    config["model_type"] = "authors-own"
    config["auto_map"] = {"AutoConfig": "theirs.Config", "AutoModel": "theirs.Model"}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "theirs.py").write_text(
        "from pathlib import Path\n"
        f"Path({str(tmp_path / 'mark')!r}).touch()\n"
        "from transformers import BertConfig, BertModel\n"
        "class Config(BertConfig):\n"
        "    model_type = 'authors-own'\n"
        "class Model(BertModel):\n"
        "    config_class = Config\n"
    )
    return folder, tmp_path / "mark"


def test_an_authors_code_runs_only_by_an_explicit_option(with_code, load, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "cache"))
    folder, mark = with_code
    with pytest.raises(InputError, match="cannot be loaded"):
        load(f"hf:{folder}", "text")
    with pytest.raises(InputError, match="it would run its author's code"):
        load(f"hf:{folder}?trust_remote_code=true", "text", trusted=False)
    assert not mark.exists()


def test_both_towers_share_one_space_and_single_models_do_not(tiny, load):
    towers = [load(f"hf:{tiny('clip')}", modality) for modality in ("image", "text")]
    assert towers[0].space == towers[1].space
    assert towers[0].dim == towers[1].dim == 24
    own = load(f"hf:{tiny('clip')}?pooling=mean", "text")
    assert own.space != towers[0].space
    assert own.dim == 32
    assert load(f"hf:{tiny('siglip')}", "text").space != towers[0].space


def test_the_space_of_a_folder_does_not_depend_on_where_it_lies(tiny, tmp_path, load, monkeypatch):
    folder = tiny("clip")
    moved = tmp_path / folder.name
    shutil.copytree(folder, moved)
    monkeypatch.chdir(tmp_path)
    encoders = [load(f"hf:{place}", "text") for place in (folder, moved, f"./{folder.name}")]
    assert len({encoder.space for encoder in encoders}) == 1
    assert encoders[0].fingerprint() == encoders[1].fingerprint() == encoders[2].fingerprint()
    assert encoders[0].space.startswith(f"hf:{folder.name}#")


def test_loading_prints_nothing(tiny, load, capfd):
    uris = [f"hf:{tiny('bert')}", f"st:{tiny('sentence')}"]
    capfd.readouterr()
    for uri in uris:
        load(uri, "text")
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""
