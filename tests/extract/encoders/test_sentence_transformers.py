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


@pytest.fixture
def prompted(tiny, tmp_path):
    """``prompted(default, **prompts)``: a model's folder whose settings hold prompts."""

    def make(default, name="model", **prompts):
        folder = shutil.copytree(tiny("sentence"), tmp_path / name)
        path = folder / "config_sentence_transformers.json"
        settings = {"prompts": prompts, "default_prompt_name": default}
        path.write_text(json.dumps({**json.loads(path.read_text()), **settings}))
        return folder

    return make


@pytest.mark.parametrize(
    ("query", "prompt"),
    [
        # A catalogue's items are documents.
        ("", "passage : "),
        ("?prompt=query", "query : "),
        ("?prompt=search: ", "search: "),
        ("?prompt=none", ""),
    ],
)
def test_a_prompt_of_the_models_own_or_ones_own(query, prompt, prompted, load, encode, raws):
    folder = prompted(None, passage="passage : ", query="query : ")
    library = SentenceTransformer(str(folder), device="cpu")
    expected = library.encode(raws["text"], prompt=prompt, convert_to_tensor=True)
    encoder = load(f"st:{folder}{query}", "text")
    torch.testing.assert_close(encode(encoder, raws["text"]), expected, rtol=0, atol=1e-5)
    assert encoder.fingerprint()["preprocessing"]["prompt"] == prompt


def test_items_are_encoded_as_the_library_encodes_documents(prompted, load, encode, raws):
    folder = prompted(None, document="search : ", query="query : ")
    library = SentenceTransformer(str(folder), device="cpu")
    expected = library.encode_document(raws["text"], convert_to_tensor=True)
    vectors = encode(load(f"st:{folder}", "text"), raws["text"])
    torch.testing.assert_close(vectors, expected, rtol=0, atol=1e-5)


def test_the_models_default_prompt_comes_before_that_of_documents(prompted, load):
    folder = prompted("query", passage="passage : ", query="query : ")
    assert load(f"st:{folder}", "text").prompt == "query : "


def test_e5_gets_its_prefix_unless_its_folder_says_otherwise(prompted, load):
    assert load(f"st:{prompted(None, 'e5-small')}", "text").prompt == "passage: "
    own = prompted(None, "e5-base", document="search: ")
    assert load(f"st:{own}", "text").prompt == "search: "


def test_a_prompt_that_the_model_does_not_have_is_refused(prompted, load, tiny):
    folder = prompted(None, passage="passage : ")
    with pytest.raises(InputError, match=r"prompt=pasage: the model has no such prompt \(did you"):
        load(f"st:{folder}?prompt=pasage", "text")
    with pytest.raises(InputError, match=r"has no such prompt \(it has none\)"):
        load(f"st:{tiny('sentence')}?prompt=query", "text")


def test_long_texts_are_read_to_their_end_in_chunks(tiny, load, encode):
    folder = tiny("sentence")
    words = ("red shoes two cats the train crosses a bridge . picture of blue cat " * 3).split()
    pieces = [words[start : start + 8] for start in range(0, len(words) - 3, 5)]
    library = SentenceTransformer(str(folder), device="cpu")
    unit = library.encode([f"search: {' '.join(piece)}" for piece in pieces])
    mean = sum(len(piece) * row for piece, row in zip(pieces, unit, strict=True))
    expected = torch.from_numpy(mean / (mean**2).sum() ** 0.5)  # its vectors are of length 1

    # Two special tokens, two of the prompt, eight of the text.
    encoder = load(f"st:{folder}?chunk=12&overlap=3&prompt=search: ", "text")

    texts = ["blue", " ".join(words)]
    vectors = encode(encoder, texts)
    torch.testing.assert_close(vectors[1], expected, rtol=0, atol=1e-5)
    whole = load(f"st:{folder}?prompt=search: ", "text")
    torch.testing.assert_close(vectors[:1], encode(whole, ["blue"]), rtol=0, atol=1e-6)
    lengths = [encoder.length(encoder.preprocess(text)) for text in texts]
    assert lengths == [5, sum(len(piece) + 4 for piece in pieces)]
    assert encoder.fingerprint()["preprocessing"]["overlap"] == 3
    assert encoder.space == whole.space


def test_chunks_are_refused_where_they_would_change_more(tiny, load, tmp_path):
    folder = shutil.copytree(tiny("sentence"), tmp_path / "model")
    path = folder / "1_Pooling" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "include_prompt": False}))
    with pytest.raises(InputError, match="leaves its prompt out of the mean; add prompt=none"):
        load(f"st:{folder}?chunk=12&prompt=search: ", "text")
    assert load(f"st:{folder}?chunk=12", "text").dim == 32


def test_chunks_need_a_transformer(load, tmp_path):
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = Tokenizer(models.WordLevel({"red": 0, "cat": 1, "<unk>": 2}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    static = StaticEmbedding(words, embedding_dim=4)
    SentenceTransformer(modules=[static], device="cpu").save(str(tmp_path / "static"))
    assert load(f"st:{tmp_path}/static", "text").dim == 4
    with pytest.raises(InputError, match="chunk=: the model reads texts otherwise"):
        load(f"st:{tmp_path}/static?chunk=8", "text")
    with pytest.raises(InputError, match="backend=onnx: the model begins with no transformer"):
        load(f"st:{tmp_path}/static?backend=onnx", "text")


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
