from itertools import count

import numpy as np
import pytest
import torch

from extract.encoders.base import Encoder
from extract.encoders.check import check_encoder

CALLS = count()


class Good(Encoder):
    """Mean and deviation of the characters' codes."""

    modalities = ("text",)
    dim = 2
    space = "characters"

    def preprocess(self, raw):
        codes = torch.tensor([float(ord(c)) for c in raw])
        return torch.stack([codes.mean(), codes.std(correction=0)])

    def encode(self, batch):
        return torch.stack(list(batch))

    def fingerprint(self):
        return {"kind": "characters"}


def failures(encoder):
    return {result.name: result.reason for result in check_encoder(encoder) if not result.passed}


def variant(**members):
    return type("Variant", (Good,), members)()


def test_a_good_encoder_passes_every_check():
    results = check_encoder(Good())
    assert all(result.passed for result in results)
    assert [result.name for result in results] == [
        "modalities",
        "dim",
        "space",
        "fingerprint",
        "text: preprocess",
        "text: output",
        "text: distinct",
        "text: deterministic",
        "text: batch equals single",
        "text: order kept",
    ]


def centred(self, batch):
    stacked = torch.stack(list(batch))
    return stacked - stacked.mean(0)


def by_value(self, batch):
    return torch.stack(sorted(batch, key=lambda row: float(row[0])))


def noisy(self, batch):
    return torch.stack(list(batch)) + torch.rand(len(batch), 2)


def cracked(self, raw):
    raise KeyError("no such character")


@pytest.mark.parametrize(
    ("members", "name", "words"),
    [
        ({"modalities": "text"}, "modalities", "must be a tuple of some of image, text, audio"),
        ({"modalities": ()}, "modalities", "must be a tuple"),
        ({"modalities": ("smell",)}, "modalities", "it is ('smell',)"),
        ({"dim": 0}, "dim", "whole number above 0; it is 0"),
        ({"dim": 2.0}, "dim", "it is 2.0"),
        ({"space": ""}, "space", "names the vector space"),
        ({"fingerprint": lambda self: {}}, "fingerprint", "must be a dict"),
        ({"fingerprint": lambda self: {"x": np.float32(1)}}, "fingerprint", "is not JSON"),
        ({"fingerprint": lambda self: {"x": float("nan")}}, "fingerprint", "is not JSON"),
        (
            {"fingerprint": lambda self: {"n": next(CALLS)}},
            "fingerprint",
            "differs between two calls",
        ),
        ({"preprocess": cracked}, "text: preprocess", "KeyError: 'no such character'"),
        ({"length": lambda self, x: 1.5}, "text: preprocess", "length() must give a whole number"),
        ({"dim": 3}, "text: output", "must give shape (4, 3); it gave (4, 2)"),
        ({"encode": lambda self, b: [1]}, "text: output", "floating tensor; it gave list"),
        ({"encode": lambda self, b: torch.full((len(b), 2), torch.nan)}, "text: output", "NaN"),
        (
            {"encode": lambda self, b: torch.ones(len(b), 2)},
            "text: distinct",
            "gave one and the same vector",
        ),
        ({"encode": noisy}, "text: deterministic", "vectors of two runs differ by"),
        ({"encode": centred}, "text: batch equals single", "from a batch and from single calls"),
        ({"encode": by_value}, "text: order kept", "of a batch and of its reverse differ"),
    ],
)
def test_each_fault_is_named(members, name, words):
    found = failures(variant(**members))
    assert words in found[name]


def test_checks_that_depend_on_a_failed_one_are_left_out():
    names = [result.name for result in check_encoder(variant(preprocess=cracked))]
    assert names[-1] == "text: preprocess"
    assert [r.name for r in check_encoder(variant(dim=0))] == [
        "modalities",
        "dim",
        "space",
        "fingerprint",
    ]


def test_small_vectors_are_held_to_their_own_size():
    def encode(self, batch):
        return centred(self, batch) * 1e-9

    assert "text: batch equals single" in failures(variant(encode=encode))


def test_half_precision_is_held_to_a_wider_tolerance():
    def encode(self, batch):
        stacked = torch.stack(list(batch)).to(torch.bfloat16)
        return stacked * (1 + 0.01 * (len(batch) == 1))

    assert failures(variant(encode=encode)) == {}
