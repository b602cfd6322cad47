import json
import shutil
import socket

import pytest
import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer

from extract.errors import InputError


def test_vectors_equal_the_librarys(tiny, load, encode, raws):
    folder = tiny("sentence")
    expected = SentenceTransformer(str(folder), device="cpu").encode(
        raws["text"], convert_to_tensor=True
    )

    encoder = load(f"st:{folder}", "text")

    assert encoder.dim == 32
    torch.testing.assert_close(encode(encoder, raws["text"]), expected, rtol=0, atol=1e-5)
    # Its last module makes unit vectors.
    assert torch.allclose(expected.norm(dim=1), torch.ones(5))
    assert encoder.fingerprint()["modules"][1]["pooling_mode"] == "mean"


def test_the_fingerprint_holds_though_a_checkpoint_lacks_the_pooler(tiny, load, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(tiny("sentence"), folder)
    weights = folder / "model.safetensors"
    state = {k: v for k, v in load_file(weights).items() if "pooler" not in k}
    assert len(state) < len(load_file(weights))
    save_file(state, weights, metadata={"format": "pt"})
    torch.manual_seed(1)
    first = load(f"st:{folder}", "text").fingerprint()
    torch.manual_seed(2)
    assert load(f"st:{folder}", "text").fingerprint() == first


def test_an_empty_text_is_named(tiny, load):
    encoder = load(f"st:{tiny('sentence')}", "text")
    with pytest.raises(ValueError, match="the text is empty"):
        encoder.preprocess(" \n")


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("st:/no/such/folder", "no such folder"),
        ("st:nobody/nothing", "cannot be loaded"),
        ("st:x?pooling=mean", "unknown option 'pooling'"),
    ],
)
def test_refuses_in_one_line(uri, words, load):
    with pytest.raises(InputError) as raised:
        load(uri, "text")
    assert words in str(raised.value)


def test_a_folder_never_makes_us_import_a_class(tiny, load, tmp_path, monkeypatch):
    folder = tmp_path / "model"
    shutil.copytree(tiny("sentence"), folder)
    modules = json.loads((folder / "modules.json").read_text())
    modules[1]["type"] = "harm.Pooling"
    (folder / "modules.json").write_text(json.dumps(modules))
    (tmp_path / "harm.py").write_text(
        f"open({str(tmp_path / 'mark')!r}, 'w')\nclass Pooling: pass\n"
    )
    shutil.copy(tmp_path / "harm.py", folder / "harm.py")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError, match="cannot be loaded"):
        load(f"st:{folder}", "text")
    assert not (tmp_path / "mark").exists()


def test_variants_of_one_model_have_other_fingerprints_and_spaces(tiny, load, tmp_path):
    def variant(name, file, **changes):
        folder = shutil.copytree(tiny("sentence"), tmp_path / name / "model")
        path = folder / file
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
        return load(f"st:{folder}", "text")

    settings = "config_sentence_transformers.json"
    plain = variant("plain", settings)
    pooled = variant("pooled", "1_Pooling/config.json", pooling_mode="cls")
    prompted = variant(
        "prompted", settings, prompts={"query": "a train"}, default_prompt_name="query"
    )
    lowered = variant("lowered", "tokenizer.json", normalizer={"type": "Lowercase"})
    variants = [plain, pooled, prompted, lowered]
    assert len({encoder.fingerprint()["weights"] for encoder in variants}) == 1
    assert len({json.dumps(encoder.fingerprint()) for encoder in variants}) == 4
    assert len({encoder.space for encoder in variants}) == 4
    again = load(f"st:{tmp_path / 'plain' / 'model'}", "text")
    assert (again.fingerprint(), again.space) == (plain.fingerprint(), plain.space)


def test_a_folder_without_a_tokenizer_is_refused(tiny, load, tmp_path):
    folder = shutil.copytree(tiny("sentence"), tmp_path / "model")
    for file in folder.glob("*token*"):
        file.unlink()
    with pytest.raises(InputError, match="its tokenizer knows no words"):
        load(f"st:{folder}", "text")


def test_a_relative_folder_asks_no_hub(tiny, load, tmp_path, monkeypatch):
    import huggingface_hub.constants as constants
    from sentence_transformers.base import model_card

    shutil.copytree(tiny("sentence"), tmp_path / "models" / "own")
    asked = []
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(model_card, "get_model_info", asked.append)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *address, **_: asked.append(address))
    monkeypatch.chdir(tmp_path)
    assert load("st:models/own", "text").space.startswith("st:own#")
    assert asked == []
