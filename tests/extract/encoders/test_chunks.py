import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from extract.encoders.chunks import Chunks, chunks_from, encode_chunks
from extract.encoders.uri import parse_uri
from extract.errors import InputError

WORDS = ["a", "red", "blue", "shoes", "cat", "train", "crosses", "bridge", "."]


@pytest.fixture(scope="module")
def tokenizers(tiny):
    # Framed on both sides, on the left, on the right, not at all; with token types and without.
    names = ("bert", "llama", "qwen3", "gpt2", "roberta")
    return {name: AutoTokenizer.from_pretrained(tiny(name)) for name in names}


@given(
    st.sampled_from(["bert", "llama", "qwen3", "gpt2", "roberta"]),
    st.lists(st.sampled_from(WORDS), min_size=1, max_size=60),
    st.integers(4, 12),
    st.data(),
)
def test_chunks_are_those_of_the_tokenizers_own_windows(tokenizers, name, words, size, data):
    tokenizer, text = tokenizers[name], " ".join(words)
    room = size - tokenizer.num_special_tokens_to_add()
    overlap = data.draw(st.integers(0, room - 1))
    uri = parse_uri(f"hf:a?chunk={size}&overlap={overlap}")
    chunks = Chunks(uri, tokenizer, 64, "").cut(text)

    expected = tokenizer(
        text,
        truncation=True,
        max_length=size,
        stride=overlap,
        return_overflowing_tokens=True,
    )
    for key in tokenizer("a"):
        assert [chunk[key] for chunk in chunks] == expected[key]


def test_every_chunk_begins_with_the_prefix(tokenizers):
    tokenizer = tokenizers["bert"]
    chunks = Chunks(parse_uri("hf:a?chunk=7&overlap=1"), tokenizer, 40, "search: ")
    ids = [chunk["input_ids"] for chunk in chunks.cut("a red cat . two blue shoes")]
    frame = tokenizer.convert_tokens_to_ids(["<s>", "search", ":", "</s>"])
    words = [["a", "red", "cat"], ["cat", ".", "two"], ["two", "blue", "shoes"]]
    assert ids == [
        [*frame[:3], *tokenizer.convert_tokens_to_ids(three), frame[3]] for three in words
    ]
    assert [chunks.weight(chunk) for chunk in chunks.cut("a red cat . two")] == [3, 3]
    assert [chunks.weight(chunk) for chunk in chunks.cut("a red cat . two blue")] == [3, 3, 2]
    # What is one chunk is what the tokenizer gives.
    assert chunks.cut("red cat") == [dict(tokenizer("search: red cat"))]
    assert chunks.describe() == {"chunk": 7, "overlap": 1}


def test_a_text_without_tokens_is_one_chunk(tokenizers):
    chunks = Chunks(parse_uri("hf:a?chunk=7"), tokenizers["bert"], 40, "")
    assert chunks.cut("") == [dict(tokenizers["bert"](""))]
    assert chunks.weight(chunks.cut("")[0]) == 1


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("chunk=41", "chunk=41: the model takes up to 40 tokens, and 2 of a chunk are special"),
        ("chunk=2", "chunk=2: the model takes up to 40 tokens"),
        ("chunk=0", "chunk=0: the model takes up to 40 tokens"),
        ("chunk=ten", "chunk=ten is not a whole number"),
        ("chunk=10&overlap=8", "overlap=8: a chunk holds 8 tokens of the text, so 0 to 7 can be"),
        ("chunk=10&overlap=-1", "overlap=-1"),
        ("overlap=3", "overlap= needs chunk="),
    ],
)
def test_refuses_in_one_line(query, words, tokenizers):
    with pytest.raises(InputError) as raised:
        chunks_from(parse_uri(f"hf:a?{query}"), tokenizers["bert"], 40, "")
    assert words in str(raised.value)


def test_a_texts_vector_is_the_mean_weighted_by_tokens(tokenizers):
    chunks = Chunks(parse_uri("hf:a?chunk=6"), tokenizers["bert"], 40, "")
    texts = [chunks.cut(text) for text in ("a red cat . two blue", "shoes", "cat " * 9)]
    ran = []

    def forward(pieces):
        ran.append(pieces)
        # Tells chunks apart: the sum of their tokens' numbers, and how many there are.
        rows = [[sum(p["input_ids"]), len(p["input_ids"])] for p in pieces]
        return torch.tensor(rows, dtype=torch.float32)

    ids = [[piece["input_ids"] for piece in text] for text in texts]
    assert [[len(piece) - 2 for piece in text] for text in ids] == [[4, 2], [1], [4, 4, 1]]
    expected = []
    for text in ids:
        weights = [len(piece) - 2 for piece in text]
        both = [(sum(piece), len(piece)) for piece in text]
        rows = [[w * v for v in row] for w, row in zip(weights, both, strict=True)]
        expected.append([sum(column) / sum(weights) for column in zip(*rows, strict=True)])

    vectors = encode_chunks(texts, chunks, forward)

    torch.testing.assert_close(vectors, torch.tensor(expected))
    # Six chunks of three texts: no pass holds more than three, and like lengths go together.
    assert [len(pieces) for pieces in ran] == [3, 3]
    lengths = [len(p["input_ids"]) for pieces in ran for p in pieces]
    assert lengths == sorted(lengths)
    top = encode_chunks(texts, chunks, forward, "max")
    assert top[0].tolist() == [max(sum(piece) for piece in ids[0]), 6]


def test_texts_of_one_chunk_are_run_as_they_are():
    given = torch.rand(2, 3)
    texts = [[{"input_ids": [1]}], [{"input_ids": [2, 3]}]]
    assert encode_chunks(texts, None, lambda pieces: given) is given
