"""The commands that carry a trained model elsewhere."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from scipy.sparse import csr_array

import cli
from mmssl.recommend.index import VectorIndex


@pytest.fixture
def run(saved, tmp_path):
    saved.save(tmp_path / "run" / "model")
    return tmp_path / "run"


def run_cli(capsys, *arguments) -> tuple[int, list[str], str]:
    """Exit code, lines of standard output, and standard error."""
    with pytest.raises(SystemExit) as stop:
        cli.run(cli.app, [str(argument) for argument in arguments])
    printed = capsys.readouterr()
    return int(stop.value.code or 0), printed.out.splitlines(), printed.err


def test_export_writes_vectors_and_an_index_and_says_what(run, tmp_path, capsys):
    out = tmp_path / "vectors"
    options = ["--format", "npy", "--index", "hnsw", "--threads", 2]
    code, said, err = run_cli(capsys, "export", "--model", run, "--out", out, *options)
    assert (code, err) == (0, "")
    assert said[0] == f"{out}: vectors of users 4, items 5, 2 numbers each, as npy"
    assert said[-1].startswith("index: hnsw, recall@5 1.0000")
    assert VectorIndex.load(out / "index").kind == "hnsw"
    assert np.load(out / "items.npy", allow_pickle=False).shape == (5, 2)
    assert run_cli(capsys, "export", "--model", run, "--out", tmp_path / "plain")[0] == 0
    assert not (tmp_path / "plain" / "index").exists()


def test_what_cannot_be_exported_is_one_line(saved, run, tmp_path, capsys):
    graph = csr_array(np.eye(5, dtype=np.float32))
    replace(saved, user_vectors=None, item_vectors=None, item_graph=graph).save(tmp_path / "knn")
    replace(saved, item_graph=graph).save(tmp_path / "both")
    out = ["--out", tmp_path / "out"]
    for arguments, says in (
        (["--model", tmp_path / "knn"], "has no vectors"),
        (["--model", tmp_path / "knn", "--vectors-only"], "has no vectors"),
        (["--model", tmp_path / "both"], "--vectors-only"),
        (["--model", tmp_path / "nothing"], "no trained model here"),
        (["--model", run, "--threads", 2], "--threads does not apply"),
        (["--model", run, "--index", "flat", "--threads", 0], "at least 1"),
        (["--model", run, "--format", "pickle"], "pickle"),
    ):
        code, said, err = run_cli(capsys, "export", *arguments, *out)
        assert (code, said) == (2, [])
        assert says in err
        assert err.count("\n") == 1
        assert not (tmp_path / "out").exists()
    assert run_cli(capsys, "export", "--model", tmp_path / "both", "--vectors-only", *out)[0] == 0


def test_recommend_caps_a_value_of_the_item_table(run, tmp_path, capsys):
    table, out = tmp_path / "items.csv", tmp_path / "recs.csv"
    table.write_text("sku,kind\n007,x\n7,x\ni0,y\ni1,\n")
    arguments = ["recommend", "--model", run, "--out", out, "--top-k", 3, "--users", "a"]
    code, said, err = run_cli(
        capsys, *arguments, "--cap", "kind=1", "--items", table, "--id-column", "sku"
    )
    assert (code, err) == (0, "")
    assert said[1] == "cap kind=1: values 2; items without a value, not capped: 2"
    # By the scores 0 1 2 3 4; i0 and i1 have been seen.
    assert pl.read_csv(out, infer_schema=False)["item_id"].to_list() == ["7", "i2"]
    before = table.read_bytes()
    for options, says in (
        (["--cap", "kind=1"], "--items"),
        (["--cap", "kind=0", "--items", table], "at least 1"),
        (["--cap", "knid=1", "--items", table, "--id-column", "sku"], "did you mean 'kind'"),
        (["--items", table], "--items"),
        (["--id-column", "sku"], "--id-column"),
        (["--cap", "kind=1", "--items", tmp_path / "none.csv"], "no such file"),
        (["--cap", "kind=1", "--items", table, "--out", table], "would be overwritten"),
    ):
        code, said, err = run_cli(capsys, *arguments, *options)
        assert (code, said) == (2, [])
        assert says in err
        assert err.count("\n") == 1
    assert table.read_bytes() == before
