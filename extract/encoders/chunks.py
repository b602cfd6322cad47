"""Long texts in overlapping chunks of tokens, each framed as the tokenizer frames a whole text.

``chunk=N`` runs a text that has more than N tokens as several of at most N, special tokens and
prefix included; neighbours share ``overlap=M`` tokens. A text's vector is the mean of its chunks'
vectors, weighted by the tokens that each holds of the text (with ``pooling=max`` their maximum).
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import torch

from extract.encoders.tokenizer import PROBE
from extract.encoders.uri import EncoderURI
from extract.encoders.windows import pool_windows

Tokens: TypeAlias = dict[str, list[int]]
"""What a tokenizer gives for one text: ``input_ids`` and its companions, all of one length."""


class Chunks:
    """How texts are cut; ``size`` and ``overlap`` are in tokens.

    Chunk k holds the text's tokens [k step, k step + room), where room is what special tokens and
    prefix leave of ``size`` and step = room - overlap; the last chunk is the first that reaches the
    text's end.
    """

    def __init__(self, uri: EncoderURI, tokenizer: Any, limit: int, prefix: str) -> None:
        """Read ``chunk=`` and ``overlap=``, and learn the tokenizer's special tokens from a text.

        Args:
            uri: has the option ``chunk``.
            tokenizer: one of transformers.
            limit: the most tokens that the model takes.
            prefix: what stands before every chunk; may be empty.

        Raises:
            InputError: a chunk that the model does not take or that leaves no room for text, an
                overlap that fills a chunk, or a tokenizer that frames texts in no simple way.
        """
        self.tokenizer = tokenizer
        self.size = uri.integer("chunk") or 0
        self.overlap = uri.integer("overlap") or 0
        self.prefix = prefix
        self._head, self._tail, self._inner = self._frame(uri)
        self._prefix_ids = self._ids(prefix.rstrip()) if prefix else []
        fixed = len(self._head["input_ids"]) + len(self._tail["input_ids"]) + len(self._prefix_ids)
        self._room = self.size - fixed
        if not fixed < self.size <= limit:
            uri.refuse(
                f"option chunk={self.size}: the model takes up to {limit} tokens, and {fixed} of a"
                " chunk are special ones and the prefix"
            )
        if not 0 <= self.overlap < self._room:
            uri.refuse(
                f"option overlap={self.overlap}: a chunk holds {self._room} tokens of the text, so"
                f" 0 to {self._room - 1} can be shared"
            )

    def _frame(self, uri: EncoderURI) -> tuple[Tokens, Tokens, dict[str, int]]:
        """The tokens before and behind a text, and the companions' value within it."""
        whole: Tokens = {k: list(v) for k, v in self.tokenizer(PROBE).items()}
        inner, ids = self._ids(PROBE), whole["input_ids"]
        places = range(len(ids) - len(inner) + 1)
        start = next((i for i in places if ids[i : i + len(inner)] == inner), None)
        if start is None:
            uri.refuse("option chunk=: its tokenizer changes a text when it adds special tokens")
        end = start + len(inner)
        head = {name: values[:start] for name, values in whole.items()}
        tail = {name: values[end:] for name, values in whole.items()}
        return head, tail, {name: values[start] for name, values in whole.items()}

    def _ids(self, text: str) -> list[int]:
        # verbose: a text longer than the model takes is what this is for.
        ids: list[int] = self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        return ids

    def cut(self, text: str) -> list[Tokens]:
        """The chunks of a text, in their order; at least one, which may hold no token of it."""
        ids = self._ids(self.prefix + text)
        # Where a tokenizer joins the prefix's end with the text, less of it is repeated.
        shared = 0
        while (
            shared < min(len(ids), len(self._prefix_ids))
            and ids[shared] == (self._prefix_ids[shared])
        ):
            shared += 1
        prefix, body = ids[:shared], ids[shared:]
        room = self.size - len(self._head["input_ids"]) - len(self._tail["input_ids"]) - shared
        pieces = []
        for start in range(0, max(1, len(body)), room - self.overlap):
            pieces.append(self._framed(prefix + body[start : start + room]))
            if start + room >= len(body):
                break
        return pieces

    def _framed(self, ids: list[int]) -> Tokens:
        return {
            name: self._head[name]
            + (ids if name == "input_ids" else [inner] * len(ids))
            + self._tail[name]
            for name, inner in self._inner.items()
        }

    def weight(self, chunk: Tokens) -> int:
        """How many tokens of the text a chunk holds; at least 1."""
        return max(1, len(chunk["input_ids"]) - self.size + self._room)

    def describe(self) -> dict[str, int]:
        """For a fingerprint."""
        return {"chunk": self.size, "overlap": self.overlap}


def chunks_from(uri: EncoderURI, tokenizer: Any, limit: int, prefix: str) -> Chunks | None:
    """The chunks that ``chunk=`` and ``overlap=`` ask for; None where they are absent.

    Raises:
        InputError: an overlap without chunks; as ``Chunks``.
    """
    if "chunk" in uri.options:
        return Chunks(uri, tokenizer, limit, prefix)
    if "overlap" in uri.options:
        uri.refuse("option overlap= needs chunk=: it is what neighbouring chunks share")
    return None


def encode_chunks(
    texts: Sequence[Sequence[Tokens]],
    chunks: Chunks | None,
    forward: Callable[[list[Tokens]], torch.Tensor],
    how: str = "mean",
) -> torch.Tensor:
    """Run the chunks of several texts, those of like length together, and pool each text's.

    Args:
        texts: the chunks of each text, at least one.
        chunks: how they were cut; None where every text is one.
        forward: from at most ``len(texts)`` chunks to their vectors, (n, dim).
        how: ``max`` takes the maximum of a text's chunks; anything else their weighted mean.

    Returns:
        (texts, dim); what ``forward`` gives where every text is one chunk.
    """
    pieces = [piece for text in texts for piece in text]
    if len(pieces) == len(texts):
        return forward(pieces)
    assert chunks is not None
    order = sorted(range(len(pieces)), key=lambda i: len(pieces[i]["input_ids"]))
    vectors: dict[int, torch.Tensor] = {}
    for start in range(0, len(order), len(texts)):
        run = order[start : start + len(texts)]
        vectors.update(zip(run, forward([pieces[i] for i in run]), strict=True))
    return pool_windows(
        [vectors[i] for i in range(len(pieces))],
        [len(text) for text in texts],
        # A text of one chunk keeps its vector bit by bit.
        [1 if len(text) == 1 else chunks.weight(piece) for text in texts for piece in text],
        how,
    )
