from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from extract.errors import InputError
from extract.export.recbole import recbole_fields, write_recbole

SHARED = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)


def as_recbole_loads(path: Path) -> pd.DataFrame:
    """recbole/data/dataset/dataset.py, Dataset._load_feat, with the default separators."""
    with path.open(encoding="utf-8") as file:
        head = file.readline()[:-1]
    fields = dict(field.split(":") for field in head.split("\t"))
    frame = pd.read_csv(
        path,
        delimiter="\t",
        usecols=head.split("\t"),
        dtype=dict.fromkeys(head.split("\t"), str),
        encoding="utf-8",
        engine="python",
    )
    frame.columns = list(fields)
    for name, kind in fields.items():
        if kind == "float_seq":
            frame[name] = [
                np.array(list(map(float, filter(None, text.split(" "))))) for text in frame[name]
            ]
    return frame


def test_recbole_reads_it_back(tmp_path, fill_store):
    vectors = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
    ids = ["a", "b c", "007", 'd"e', "пример", "1e5", "f,g"]
    store = fill_store(tmp_path / "s", vectors, ids=ids, absent={1: "failed", 6: "missing"})
    out = tmp_path / "ml-100k.itememb"
    summary = write_recbole(store, out)
    assert out.read_text(encoding="utf-8").splitlines()[0] == "iid:token\titem_emb:float_seq"
    frame = as_recbole_loads(out)
    assert frame["iid"].tolist() == ["a", "007", 'd"e', "пример", "1e5"]
    np.testing.assert_array_equal(
        np.stack(frame["item_emb"]).astype(np.float32), vectors[[0, 2, 3, 4, 5]]
    )
    assert summary.written == 5
    assert (
        "in RecBole's configuration: additional_feat_suffix: [itememb],"
        " load_col: {inter: [user_id, item_id], itememb: [iid, item_emb]},"
        " alias_of_item_id: [iid], preload_weight: {iid: item_emb}"
    ) in summary.lines()


@SHARED
@given(
    numbers=st.lists(
        st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=2, max_size=2
    ),
    name=st.text(min_size=1).filter(str.strip),
)
def test_any_number_comes_back_and_any_id_or_it_is_refused(
    tmp_path_factory, fill_store, numbers, name
):
    folder = tmp_path_factory.mktemp("r")
    store = fill_store(folder / "s", [numbers, [1, 2]], ids=["first", name + "!"])
    if set(name) & set("\t\n\r\0") or name.startswith('"'):
        with pytest.raises(InputError, match="cannot stand in a RecBole file"):
            write_recbole(store, folder / "d.itememb")
        return
    write_recbole(store, folder / "d.itememb")
    frame = as_recbole_loads(folder / "d.itememb")
    assert frame["iid"].tolist() == ["first", name + "!"]
    assert np.float32(frame["item_emb"][0]).tolist() == numbers


@pytest.mark.parametrize("odd", ["NA", "null", "None", "a\tb", "a\nb", '"a"', "a\rb"])
def test_an_id_that_recbole_would_read_as_another_is_refused(tmp_path, fill_store, odd):
    store = fill_store(tmp_path / "s", np.ones((3, 2)), ids=["a", odd, "b"])
    with pytest.raises(InputError, match="cannot stand in a RecBole file"):
        write_recbole(store, tmp_path / "d.itememb")
    assert not list(tmp_path.glob("*d.itememb*"))


def test_a_second_modality_has_field_names_of_its_own(tmp_path, fill_store):
    store = fill_store(tmp_path / "s", np.ones((3, 2)))
    write_recbole(store, tmp_path / "d.textemb")
    head = (tmp_path / "d.textemb").read_text().splitlines()[0]
    assert head == "textemb_id:token\ttextemb:float_seq"


@pytest.mark.parametrize("name", ["d.inter", "d.item", "d", "d.a b", ".itememb", "d.7z"])
def test_suffixes_that_recbole_could_not_be_told_of(name):
    with pytest.raises(InputError, match=r"RecBole wants <dataset>\.itememb"):
        recbole_fields(Path(name))
