import numpy as np
import pytest

from extract.errors import InputError
from mmssl.data.files.matrices import find_matrices, read_matrix, row_order, write_matrices
from mmssl.data.ids import IdMap
from tests.mmssl.data.formats import raw


def test_row_numbers_are_ids_where_nothing_says_else(tmp_path):
    path = tmp_path / "image_feat.npy"
    np.save(path, np.array([[1, 2], [np.nan, 4]], dtype=np.float16))
    assert raw.by_id(read_matrix(path)) == {"0": [1, 2], "1": None}
    assert raw.by_id(read_matrix(path, ["a", "b"])) == {"a": [1, 2], "b": None}
    path.with_suffix(".ids.txt").write_text("x\ny\n")
    assert raw.by_id(read_matrix(path)) == {"x": [1, 2], "y": None}
    assert find_matrices(tmp_path) == {"image": path}


def test_a_mask_tells_zeros_from_gaps(tmp_path):
    path = tmp_path / "text_feat.npy"
    np.save(path, np.zeros((2, 3)))
    np.save(tmp_path / "text_feat.mask.npy", np.array([True, False]))
    assert raw.by_id(read_matrix(path)) == {"0": [0, 0, 0], "1": None}


@pytest.mark.parametrize("mask", [np.array([1, 0]), np.array([True]), np.array([[True], [False]])])
def test_a_mask_of_another_kind_is_refused(tmp_path, mask):
    np.save(tmp_path / "text_feat.npy", np.zeros((2, 3)))
    np.save(tmp_path / "text_feat.mask.npy", mask)
    with pytest.raises(InputError, match=r"text_feat\.mask\.npy: wants one bool for each of the 2"):
        read_matrix(tmp_path / "text_feat.npy")


def test_ids_of_another_length_are_refused(tmp_path):
    np.save(tmp_path / "text_feat.npy", np.zeros((2, 3)))
    with pytest.raises(InputError, match="2 rows for 3 items"):
        read_matrix(tmp_path / "text_feat.npy", ["a", "b", "c"])


def test_rows_are_written_by_id(tmp_path):
    source = raw.features({"b": [1.0], "a": [2.0]})
    assert write_matrices({"image": source}, IdMap(["a", "b"]), tmp_path) == []
    assert np.load(tmp_path / "image_feat.npy").tolist() == [[2], [1]]
    assert not (tmp_path / "image_feat.mask.npy").exists()


@pytest.mark.parametrize(
    ("interacted", "ordered", "wanted"),
    [("ac", "abc", "abc"), ("ab", "abc", "acb"), ("bd", "abcde", "abced"), ("", "ab", "ab")],
)
def test_the_last_row_has_interactions_where_that_can_be(interacted, ordered, wanted):
    assert "".join(row_order(set(interacted), list(ordered))) == wanted
