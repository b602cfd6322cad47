"""Tokenizers of models of word vectors, which are unlike those of transformers."""

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, WordEmbeddings
from sentence_transformers.sentence_transformer.modules.tokenizer import WhitespaceTokenizer
from sentence_transformers.sentence_transformer.modules.tokenizer.word import (
    TransformersTokenizerWrapper,
)
from transformers import AutoTokenizer

from extract.encoders.tokenizer import require_words, tokenizer_digest
from extract.encoders.uri import parse_uri


def test_a_model_of_word_vectors(tmp_path, load, encode):
    torch.manual_seed(0)
    words = WordEmbeddings(
        tokenizer=WhitespaceTokenizer(["red", "cat"]), embedding_weights=torch.rand(2, 4)
    )
    SentenceTransformer(modules=[words, Pooling(4)], device="cpu").save(str(tmp_path))
    encoder = load(f"st:{tmp_path}", "text")
    red, cat = encode(encoder, ["red", "cat"])
    assert not torch.equal(red, cat)


def test_digests_tell_word_tokenizers_apart():
    one, other = WhitespaceTokenizer(["red", "cat"]), WhitespaceTokenizer(["cat", "red"])
    assert tokenizer_digest(one) != tokenizer_digest(other)
    assert tokenizer_digest(one) == tokenizer_digest(WhitespaceTokenizer(["red", "cat"]))


def test_a_wrapped_tokenizer(tiny):
    wrapped = TransformersTokenizerWrapper(AutoTokenizer.from_pretrained(tiny("bert")))
    require_words(wrapped, parse_uri("st:x"))
    assert len(tokenizer_digest(wrapped)) == 64
