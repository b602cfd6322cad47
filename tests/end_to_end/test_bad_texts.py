"""Texts that are empty, odd, huge or no texts at all, in one catalogue with good ones."""

import numpy as np

TEXT = ("--modality", "text", "--encoder", "shop_encoders:Letters")

LONG = "Le chat noir dort. " * 55_000
EMOJI = "🐈‍⬛🦆👨‍👩‍👧"
RIGHT_TO_LEFT = "\u202bقطة سوداء\u202c וחתול"


def letters(text: str) -> np.ndarray:
    return np.bincount(np.frombuffer(text.encode(), np.uint8), minlength=256).astype(np.float32)


def test_bad_cells_beside_good_ones(table, compare):
    texts = {
        "good": "a cat",
        "empty": "",
        "spaces": " \t\n\u3000\u00a0",
        "only NUL": "\0\0",
        "no text": None,
        "NUL within": "cat\0and\0dog",
        "long": LONG,
        "emoji": EMOJI,
        "right to left": RIGHT_TO_LEFT,
        "other": "two dogs",
    }
    assert len(LONG) > 10**6
    expected = dict.fromkeys(texts) | {
        "empty": "empty text",
        "spaces": "empty text",
        "only NUL": "empty text",
        "no text": "no value in the table",
    }
    good = {item: texts[item] for item in ("good", "other")}
    tables = table("all.jsonl", "text", texts), table("good.jsonl", "text", good)
    found = compare(*tables, expected, *TEXT)
    read = texts | {"NUL within": "catanddog"}
    for item, vector in found.vectors.items():
        np.testing.assert_array_equal(vector, letters(read[item]), err_msg=item)


def test_bad_text_files_beside_good_ones(shop, compare):
    files = {
        "emoji": EMOJI.encode(),
        "empty": b"",
        "good": b"a cat",
        "invalid": b"caf\xe9 noir",
        "long": LONG.encode(),
        "nul": b"cat\0and\0dog",
        "other": b"two dogs",
        "right to left": RIGHT_TO_LEFT.encode(),
        "spaces": b" \n\t ",
        "utf-16": "le chat".encode("utf-16"),
    }
    for folder, names in (("files", files), ("good", ("good", "other"))):
        (shop / folder).mkdir()
        for name in names:
            (shop / folder / f"{name}.txt").write_bytes(files[name])
    expected = dict.fromkeys(files) | {
        "empty": "empty file",
        "invalid": "not UTF-8 text (byte 3)",
        "spaces": "empty text",
        "utf-16": "UTF-16 text; save it as UTF-8",
    }
    found = compare(shop / "files", shop / "good", expected, *TEXT)
    for item, vector in found.vectors.items():
        text = files[item].decode().replace("\0", "")
        np.testing.assert_array_equal(vector, letters(text), err_msg=item)
