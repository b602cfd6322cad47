import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from extract.errors import InputError
from mmssl.data.features import SourceFeatures, read_features
from mmssl.data.ids import IdMap


@pytest.fixture
def array(tmp_path):
    def save(values, name="feat.npy"):
        path = tmp_path / name
        np.save(path, values, allow_pickle=True)
        return path

    return save


def test_row_r_of_a_bare_npy_is_item_r(array):
    values = np.arange(6, dtype=np.float64).reshape(3, 2)
    path = array(values)
    source = read_features(path)
    assert source.ids == ["0", "1", "2"]
    assert source.vectors.dtype == np.float32
    assert np.array_equal(source.vectors, values)
    assert source.present.all()
    assert source.encoder is None
    assert source.digest == hashlib.sha256(path.read_bytes()).hexdigest()


def test_float16_is_cast_before_anything_is_computed(array):
    # Summed in float16, 60000 + 60000 is infinite; the row is fine.
    source = read_features(array(np.full((1, 3), 60000, dtype=np.float16)))
    assert source.present.tolist() == [True]
    assert source.vectors.tolist() == [[60000.0] * 3]


def test_rows_with_nan_or_infinity_are_absent_and_zero(array):
    values = np.array([[1, 2], [np.nan, 1], [3, np.inf], [1e300, 0]])
    source = read_features(array(values))
    assert source.present.tolist() == [True, False, False, False]
    assert source.vectors.tolist() == [[1, 2], [0, 0], [0, 0], [0, 0]]


def test_ids_come_line_by_line(array, tmp_path):
    ids = tmp_path / "ids.txt"
    ids.write_text("猫\na/b.c\n 7\n", encoding="utf-8")
    assert read_features(array(np.eye(3)), ids).ids == ["猫", "a/b.c", " 7"]
    ids.write_bytes("\ufeff0\r\n1\u2028\r\n2\r\n".encode())
    assert read_features(array(np.eye(3)), ids).ids == ["0", "1\u2028", "2"]


def test_a_count_mismatch_names_both_counts(array, tmp_path):
    ids = tmp_path / "ids.txt"
    ids.write_text("a\nb\n")
    with pytest.raises(InputError, match=r"has 3 rows, but .*ids\.txt has 2 ids"):
        read_features(array(np.eye(3)), ids)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a\n\nc\n", "line 2: the item id is empty"),
        (b"a\nb\na\n", "item id 'a' stands in lines 1 and 3"),
        (b"a\n\xff\nc\n", "not readable as UTF-8"),
    ],
)
def test_a_broken_id_file_is_named_with_the_line(array, tmp_path, content, message):
    ids = tmp_path / "ids.txt"
    ids.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        read_features(array(np.eye(3)), ids)
    assert str(ids) in str(caught.value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros(3), r"must be a matrix, one row an item; its shape is \(3,\)"),
        (np.zeros((0, 4)), r"its shape is \(0, 4\)"),
        (np.zeros((2, 2), complex), "must hold real numbers; it holds complex128"),
        (np.array([["a"]]), "must hold real numbers"),
        (np.array([[{}]], dtype=object), "not readable as .npy"),
    ],
)
def test_an_array_that_is_no_feature_matrix_is_refused(array, values, message):
    with pytest.raises(InputError, match=message):
        read_features(array(values))


def test_a_truncated_or_foreign_file_is_refused(array, tmp_path):
    path = array(np.eye(50))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match="not readable as"):
        read_features(path)
    path.write_bytes(b"")
    with pytest.raises(InputError, match="not readable as"):
        read_features(path)
    np.savez(tmp_path / "arrays.npz", a=np.eye(2))
    (tmp_path / "arrays.npz").rename(path)
    with pytest.raises(InputError, match="not readable as"):
        read_features(path)
    with pytest.raises(InputError, match=r"gone\.npy: no such file or folder"):
        read_features(tmp_path / "gone.npy")
    with pytest.raises(InputError, match=r"stor: no such file or folder"):
        read_features(tmp_path / "stor")
    (tmp_path / "feat.csv").touch()
    with pytest.raises(InputError, match=r"a feature store \(a folder\) or a \.npy"):
        read_features(tmp_path / "feat.csv")
    with pytest.raises(InputError, match="no feature store here"):
        read_features(tmp_path)


def test_a_store_brings_its_ids_its_encoder_and_its_digest(tmp_path, make_store):
    vectors = np.array([[1, 2], [3, 4], [5, 6]], dtype=np.float32)
    store = make_store(tmp_path / "image", ["b", "c/1", "a"], vectors, failed=["c/1"])
    source = read_features(tmp_path / "image")
    assert source.ids == ["b", "c/1", "a"]
    assert source.present.tolist() == [True, False, True]
    assert source.vectors.tolist() == [[1, 2], [0, 0], [5, 6]]
    assert source.encoder == "melstats:64"
    assert source.digest == store.digest()
    with pytest.raises(InputError, match="leave out --feature-ids"):
        read_features(tmp_path / "image", tmp_path / "ids.txt")


def test_an_incomplete_or_damaged_store_is_refused(tmp_path, make_store):
    make_store(tmp_path / "image", ["a", "b", "c"], np.eye(3, dtype=np.float32))
    part = tmp_path / "image" / "part-1.npy"
    part.write_bytes(part.read_bytes()[:-1] + b"!")
    with pytest.raises(InputError, match=r"part-1\.npy: missing or damaged"):
        read_features(tmp_path / "image")
    (tmp_path / "image" / "part-1.json").unlink()
    with pytest.raises(InputError, match="the feature store is incomplete"):
        read_features(tmp_path / "image")


@given(st.permutations(list("abcdef")), st.sets(st.sampled_from("abcdefgh"), min_size=1))
def test_alignment_follows_the_ids_whatever_the_order(source_ids, item_ids):
    vectors = np.array([[ord(id_)] for id_ in source_ids], dtype=np.float32)
    present = np.array([id_ != "c" for id_ in source_ids])
    vectors[~present] = 0
    items = IdMap(sorted(item_ids, reverse=True))
    aligned, there = SourceFeatures(source_ids, vectors, present, None, "").aligned(items)
    assert aligned.dtype == np.float32
    for row, id_ in enumerate(items.ids):
        expected = id_ in source_ids and id_ != "c"
        assert there[row] == expected
        assert aligned[row, 0] == (ord(id_) if expected else 0)


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 3",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999, 99999)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (10000000000000000000000, 3)}",
        "(" * 5000,
        "{[]: 1}",
    ],
)
@pytest.mark.parametrize("version", [1, 2])
def test_a_damaged_header_is_one_line(tmp_path, header, version):
    path = tmp_path / "a.npy"
    text = header.encode() + b"\n"
    length = len(text).to_bytes(2 if version == 1 else 4, "little")
    path.write_bytes(b"\x93NUMPY" + bytes([version, 0]) + length + text + bytes(36))
    with pytest.raises(InputError, match=r"a\.npy: not readable as \.npy"):
        read_features(path)


def test_what_export_leaves_beside_a_matrix_is_read_with_it(tmp_path):
    np.save(tmp_path / "image.npy", np.array([[1.0], [0.0], [3.0]], dtype=np.float32))
    np.save(tmp_path / "image.mask.npy", np.array([True, False, True]))
    (tmp_path / "image.ids.txt").write_text("c\nb\na\n")
    source = read_features(tmp_path / "image.npy")
    assert source.ids == ["c", "b", "a"]
    assert source.present.tolist() == [True, False, True]
    (tmp_path / "other.txt").write_text("x\ny\nz\n")
    assert read_features(tmp_path / "image.npy", tmp_path / "other.txt").ids == ["x", "y", "z"]
