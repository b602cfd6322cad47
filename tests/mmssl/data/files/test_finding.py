"""Which files a folder has, and what can go wrong when they are opened."""

import gzip

import pytest

from extract.errors import InputError
from mmssl.data.files.finding import files_ending, first_line, open_unpacked


def test_hidden_files_and_bare_endings_are_left_out(tmp_path):
    for name in ("b_feat.npy", "a_feat.npy", "._a_feat.npy", "_feat.npy", "a_feat.npz"):
        (tmp_path / name).touch()
    assert [path.name for path in files_ending(tmp_path, "_feat.npy")] == [
        "a_feat.npy",
        "b_feat.npy",
    ]
    assert files_ending(tmp_path / "a_feat.npy", "_feat.npy") == [tmp_path / "a_feat.npy"]
    assert files_ending(tmp_path / "a_feat.npz", "_feat.npy") == []


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b"", ""),
        (b"\n \n\n", ""),
        (b"\xef\xbb\xbfa\tb\t\r\nc", "a\tb\t"),
        (b"\n\na::b\n", "a::b"),
        (b"caf\xe9\n", "caf\ufffd"),
        (b"\xff\xfe\x00", "\ufffd\ufffd\x00"),
    ],
)
def test_first_line(tmp_path, data, line):
    (tmp_path / "x").write_bytes(data)
    assert first_line(tmp_path / "x") == line
    (tmp_path / "x.gz").write_bytes(gzip.compress(data))
    assert first_line(tmp_path / "x.gz") == line


def test_first_line_of_what_cannot_be_read(tmp_path):
    (tmp_path / "x.gz").write_bytes(b"no gzip\n")
    for path in (tmp_path / "none", tmp_path, tmp_path / "x.gz", tmp_path / "x.gz" / "y"):
        assert first_line(path) == ""


def test_what_cannot_be_read_is_told_once(tmp_path):
    (tmp_path / "x.gz").write_bytes(gzip.compress(b"many words\n" * 999)[:-9])
    (tmp_path / "y.gz").write_bytes(b"no gzip\n")
    said = {
        tmp_path / "none": "none: no such file",
        tmp_path / "x.gz" / "y": "x.gz/y: no such file",
        tmp_path: f"{tmp_path}: not readable (Is a directory)",
        tmp_path / "x.gz": "x.gz: not readable (Compressed file ended",
        tmp_path / "y.gz": "y.gz: not readable (Not a gzipped file",
    }
    for path, words in said.items():
        with pytest.raises(InputError) as caught, open_unpacked(path) as handle:
            handle.read()
        assert words in str(caught.value)
        assert str(caught.value).count(str(path)) == 1
