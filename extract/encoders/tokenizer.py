"""What every text encoder asks of its tokenizer: that it knows words, and what names it."""

import hashlib
import json
from typing import Any

from extract.encoders.uri import EncoderURI

# Several scripts: a tokenizer of any language knows a piece of one of them.
PROBE = "a red word 0 größe слово كلمة 言葉 단어"


def require_words(tokenizer: Any, uri: EncoderURI) -> None:
    """Refuse a tokenizer that turns every word into the same token.

    transformers makes one up, of special tokens alone, for a folder without a tokenizer's files:
    all texts would then share one vector.

    Raises:
        InputError: its vocabulary holds special tokens only, or every word is unknown to it.
    """
    known = {word for word, _ in _vocabulary(tokenizer)}
    if known and known <= set(getattr(tokenizer, "all_special_tokens", ())):
        uri.refuse(
            f"its tokenizer knows no words, only {len(known)} special tokens: the folder lacks"
            " tokenizer.json or vocabulary files"
        )
    unknown = getattr(tokenizer, "unk_token_id", None)
    if unknown is None:
        return
    if set(tokenizer(PROBE, add_special_tokens=False)["input_ids"]) <= {unknown}:
        uri.refuse("its tokenizer knows none of the words that it was tried with")


def tokenizer_digest(tokenizer: Any) -> str:
    """SHA-256 of a tokenizer: vocabulary, merges, normalisation; of a slow one its vocabulary.

    What a call changes (truncation and padding) is left out.
    """
    backend = getattr(tokenizer, "backend_tokenizer", tokenizer)
    settings: Any
    if hasattr(backend, "to_str"):
        settings = json.loads(backend.to_str())
        settings = {k: v for k, v in settings.items() if k not in ("truncation", "padding")}
    else:
        settings = [type(tokenizer).__name__, sorted(_vocabulary(tokenizer))]
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def _vocabulary(tokenizer: Any) -> list[tuple[str, int]]:
    """Words and their numbers; empty for a tokenizer of characters or bytes."""
    # sentence-transformers has models of word vectors: they wrap a tokenizer, or have one of their
    # own that gives the words in order.
    if type(tokenizer).__name__ == "TransformersTokenizerWrapper":
        tokenizer = tokenizer.tokenizer
    words = tokenizer.get_vocab() if hasattr(tokenizer, "get_vocab") else {}
    return list(words.items()) if isinstance(words, dict) else [(w, i) for i, w in enumerate(words)]
