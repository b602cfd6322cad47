import json
import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoTokenizer, T5EncoderModel

from extract.errors import InputError


def direct(folder, texts, read, max_length=40, auto=AutoModel, **tokenizing):
    """The library alone: tokenizer and model, text by text, so without any padding."""
    model = auto.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    options = {"truncation": True, "max_length": max_length, "return_tensors": "pt", **tokenizing}
    with torch.inference_mode():
        return torch.cat([read(model, tokenizer(text, **options)) for text in texts])


@pytest.mark.parametrize(
    ("name", "query", "read"),
    [
        ("bert", "", lambda m, x: m(**x).last_hidden_state.mean(1)),
        ("bert", "?pooling=cls", lambda m, x: m(**x).last_hidden_state[:, 0]),
        ("bert", "?pooling=last", lambda m, x: m(**x).last_hidden_state[:, -1]),
        ("bert", "?pooling=max", lambda m, x: m(**x).last_hidden_state.amax(1)),
        (
            "bert",
            "?layer=1",
            lambda m, x: m(**x, output_hidden_states=True).hidden_states[1].mean(1),
        ),
        (
            "bert",
            "?layer=2,0",
            lambda m, x: torch.cat(
                [m(**x, output_hidden_states=True).hidden_states[i].mean(1) for i in (2, 0)], dim=1
            ),
        ),
        # Beginning and end are the tokenizer's: Qwen3-Embedding's last token is its end.
        ("llama", "", lambda m, x: m(**x).last_hidden_state[:, -1]),
        ("qwen3", "", lambda m, x: m(**x).last_hidden_state[:, -1]),
        ("qwen3", "?layer=-2", lambda m, x: m(**x, output_hidden_states=True)[2][-2][:, -1]),
        ("clap", "", lambda m, x: m.get_text_features(**x).pooler_output),
        ("clip", "", lambda m, x: m.get_text_features(**x).pooler_output),
        ("clip", "?pooling=mean", lambda m, x: m.text_model(**x).last_hidden_state.mean(1)),
        # A decoder gives its last token: the only one that has read the whole text.
        ("gpt2", "", lambda m, x: m(**x).last_hidden_state[:, -1]),
        ("gpt2", "?pooling=mean", lambda m, x: m(**x).last_hidden_state.mean(1)),
    ],
)
def test_vectors_equal_the_librarys(name, query, read, tiny, load, encode, raws):
    folder = tiny(name)
    expected = direct(
        folder, raws["text"], read, {"bert": 40, "clap": 15, "clip": 24}.get(name, 64)
    )

    encoder = load(f"hf:{folder}{query}", "text")

    assert encoder.dim == expected.shape[1]
    torch.testing.assert_close(encode(encoder, raws["text"]), expected, rtol=0, atol=1e-5)


def test_siglip_reads_texts_padded_to_the_full_length(tiny, load, encode, raws):
    folder = tiny("siglip")
    expected = direct(
        folder,
        raws["text"],
        lambda m, x: m.get_text_features(**x).pooler_output,
        max_length=16,
        padding="max_length",
    )
    vectors = encode(load(f"hf:{folder}", "text"), raws["text"])
    torch.testing.assert_close(vectors, expected, rtol=0, atol=1e-5)


def test_of_an_encoder_decoder_the_encoder_is_used(tiny, load, encode, raws):
    folder = tiny("t5")
    expected = direct(
        folder, raws["text"], lambda m, x: m(**x).last_hidden_state.mean(1), 64, T5EncoderModel
    )
    vectors = encode(load(f"hf:{folder}", "text"), raws["text"])
    torch.testing.assert_close(vectors, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    # RoBERTa's positions begin behind its padding index, 14 here: 30 - 15 are left.
    ("name", "limit"),
    [("bert", 40), ("gpt2", 64), ("clip", 24), ("roberta", 15), ("clap", 15)],
)
def test_long_texts_are_cut_at_what_the_model_takes(name, limit, tiny, load, encode):
    encoder = load(f"hf:{tiny(name)}", "text")
    prepared = encoder.preprocess("red shoes " * 500)
    assert encoder.length(prepared) == limit
    assert torch.isfinite(encode(encoder, ["red shoes " * 500, "cat"])).all()


def test_a_decoder_that_appends_its_end_reads_it_last(tiny, load):
    folder = tiny("qwen3")
    [piece] = load(f"hf:{folder}", "text").preprocess("red shoes")
    assert AutoTokenizer.from_pretrained(folder).decode(piece["input_ids"]) == "red shoes </s>"


@pytest.mark.parametrize(
    ("query", "prefix"),
    [("", "passage: "), ("?prefix=query: ", "query: "), ("?prefix=none", "")],
)
def test_e5_gets_its_prefix(query, prefix, tiny, load, encode, raws):
    folder = tiny("e5")
    texts = [prefix + text for text in raws["text"]]
    expected = direct(folder, texts, lambda m, x: m(**x).last_hidden_state.mean(1), 64)
    encoder = load(f"hf:{folder}{query}", "text")
    torch.testing.assert_close(encode(encoder, raws["text"]), expected, rtol=0, atol=1e-5)
    assert encoder.fingerprint()["preprocessing"].get("prefix", "") == prefix
    # Queries and passages are there to be compared.
    assert encoder.space == load(f"hf:{folder}", "text").space


def test_a_prefix_makes_no_text_of_nothing(tiny, load):
    with pytest.raises(ValueError, match="no token in the text"):
        load(f"hf:{tiny('e5')}", "text").preprocess("  ")
    with pytest.raises(ValueError, match="no token in the text"):
        load(f"hf:{tiny('e5')}?chunk=9", "text").preprocess("  ")


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("bert", lambda m, x: m(**x).last_hidden_state.mean(1)),
        ("gpt2", lambda m, x: m(**x).last_hidden_state[:, -1]),
        ("clap", lambda m, x: m.get_text_features(**x).pooler_output),
        ("clip", lambda m, x: m.get_text_features(**x).pooler_output),
    ],
)
def test_long_texts_are_read_to_their_end_in_chunks(name, read, tiny, load, encode):
    folder = tiny(name)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    words = ("red shoes two cats the train crosses a bridge . picture of blue cat " * 3).split()
    size = 8 + tokenizer.num_special_tokens_to_add()
    # Eight words a chunk, six of them new: the text's words are tokens one to one.
    starts = range(0, len(words) - 2, 6)
    pieces = [words[start : start + 8] for start in starts]
    expected = direct(folder, [" ".join(piece) for piece in pieces], read)
    weights = torch.tensor([[float(len(piece))] for piece in pieces])

    encoder = load(f"hf:{folder}?chunk={size}&overlap=2", "text")

    vectors = encode(encoder, ["blue", " ".join(words), "red shoes"])
    torch.testing.assert_close(
        vectors[1], (expected * weights).sum(0) / weights.sum(), rtol=0, atol=1e-5
    )
    whole = load(f"hf:{folder}", "text")
    assert torch.equal(encode(encoder, ["blue"]), encode(whole, ["blue"]))
    lengths = [encoder.length(encoder.preprocess(t)) for t in ("blue", " ".join(words))]
    frame = tokenizer.num_special_tokens_to_add()
    assert lengths == [1 + frame, sum(len(piece) + frame for piece in pieces)]
    settings = encoder.fingerprint()["preprocessing"]
    assert (settings["chunk"], settings["overlap"]) == (size, 2)
    assert "max_length" not in settings


def test_a_text_of_a_megabyte_is_run_in_pieces_of_the_batch(tiny, load, monkeypatch):
    encoder = load(f"hf:{tiny('bert')}?chunk=40", "text")
    prepared = [encoder.preprocess(text) for text in ("red shoes " * 100_000, "cat", "two cats")]
    assert len(prepared[0]) == -(-200_000 // 38)
    rows = []
    forward = encoder.model.forward
    monkeypatch.setattr(
        encoder.model,
        "forward",
        lambda **inputs: rows.append(len(inputs["input_ids"])) or forward(**inputs),
    )
    prepared[0] = prepared[0][:50]
    with torch.inference_mode():
        assert encoder.encode(prepared).shape == (3, 32)
    assert max(rows) == 3
    assert sum(rows) == 52


def test_max_length_cuts_earlier(tiny, load, encode, raws):
    folder = tiny("bert")
    expected = direct(folder, raws["text"], lambda m, x: m(**x).last_hidden_state.mean(1), 6)
    vectors = encode(load(f"hf:{folder}?max_length=6", "text"), raws["text"])
    torch.testing.assert_close(vectors, expected, rtol=0, atol=1e-5)


def test_a_text_without_tokens_is_named(tiny, load):
    encoder = load(f"hf:{tiny('gpt2')}", "text")
    with pytest.raises(ValueError, match="the tokenizer finds no token in the text"):
        encoder.preprocess("   ")


def test_many_threads_may_tokenise_at_once(tiny, load):
    encoder = load(f"hf:{tiny('bert')}", "text")
    texts = [f"{'red cat ' * (i % 30)} shoes" for i in range(400)]
    expected = [encoder.preprocess(text) for text in texts]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(encoder.preprocess, texts)) == expected


@pytest.mark.parametrize("name", ["bert", "gpt2", "roberta"])
def test_a_folder_without_a_tokenizer_is_refused(name, tiny, load, tmp_path):
    # transformers would make a tokenizer of special tokens alone, and all texts one vector.
    folder = shutil.copytree(tiny(name), tmp_path / "model")
    for file in folder.glob("*token*"):
        file.unlink()
    with pytest.raises(InputError, match="its tokenizer knows no words") as raised:
        load(f"hf:{folder}", "text")
    assert "\n" not in str(raised.value)


def test_a_tokenizer_that_knows_no_word_is_refused(tiny, load, tmp_path):
    folder = shutil.copytree(tiny("bert"), tmp_path / "model")
    settings = json.loads((folder / "tokenizer.json").read_text())
    vocabulary = settings["model"]["vocab"]
    settings["model"]["vocab"] = {
        k if k.startswith("<") else f"\x02{i}": i for k, i in vocabulary.items()
    }
    (folder / "tokenizer.json").write_text(json.dumps(settings))
    with pytest.raises(InputError, match="knows none of the words"):
        load(f"hf:{folder}", "text")


def test_the_fingerprint_tells_tokenizers_of_one_vocabulary_apart(tiny, load, tmp_path):
    folder = shutil.copytree(tiny("bert"), tmp_path / "bert")
    before = load(f"hf:{folder}", "text").fingerprint()
    settings = json.loads((folder / "tokenizer.json").read_text())
    settings["normalizer"] = {"type": "Lowercase"}
    (folder / "tokenizer.json").write_text(json.dumps(settings))
    after = load(f"hf:{folder}", "text").fingerprint()
    assert after["weights"] == before["weights"]
    assert after != before


def test_shared_features_need_the_towers_pooler(tiny, load, encode, raws, tmp_path):
    folder = shutil.copytree(tiny("clap"), tmp_path / "clap")
    weights = folder / "model.safetensors"
    state = {k: v for k, v in load_file(weights).items() if "text_model.pooler" not in k}
    save_file(state, weights, metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"lacks 'text_model\.pooler.*pooling=mean does without"):
        load(f"hf:{folder}", "text")
    vectors = encode(load(f"hf:{folder}?pooling=mean", "text"), raws["text"])
    assert torch.equal(encode(load(f"hf:{folder}?pooling=mean", "text"), raws["text"]), vectors)
    sounds = encode(load(f"hf:{folder}", "audio"), raws["audio"])
    assert torch.equal(encode(load(f"hf:{tiny('clap')}", "audio"), raws["audio"]), sounds)


def test_the_home_folder_and_a_revision_of_a_folder(tiny, load, tmp_path, monkeypatch):
    shutil.copytree(tiny("bert"), tmp_path / "bert")
    monkeypatch.setenv("HOME", str(tmp_path))
    expected = load(f"hf:{tmp_path / 'bert'}", "text")
    assert load("hf:~/bert", "text").fingerprint() == expected.fingerprint()
    with pytest.raises(InputError, match="no such folder"):
        load("hf:~/cat", "text")
    with pytest.raises(InputError, match="a local folder has no revisions; leave '@v1' out"):
        load(f"hf:{tmp_path / 'bert'}@v1", "text")
