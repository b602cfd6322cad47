import subprocess
import sys

import numpy as np
import pytest

from extract.errors import InputError
from extract.export.run import FORMATS, export

NAMES = {"npy": "f.npy", "parquet": "f.parquet", "ducho": "f", "recbole": "f.itememb"}


@pytest.fixture
def store(tmp_path, fill_store):
    vectors = np.random.default_rng(0).normal(size=(8, 3))
    return fill_store(tmp_path / "s", vectors, absent={1: "failed"})


@pytest.mark.parametrize("to", FORMATS)
def test_each_format_is_written_counted_and_not_overwritten(store, tmp_path, to, fill_store):
    out = tmp_path / "new" / NAMES[to]
    summary = export(store.path, to, out)
    assert (summary.format, summary.written) == (to, 7)
    assert all(file.exists() for file in summary.files)
    before = list(out.parent.rglob("*"))
    with pytest.raises(InputError, match=r"is there already; .* --overwrite"):
        export(store.path, to, out)
    other = fill_store(tmp_path / "other", np.ones((2, 3)))
    assert export(other.path, to, out, overwrite=True).written == 2
    assert not [path for path in out.parent.rglob("*") if path.suffix in (".tmp", ".old")]
    assert (len(list(out.parent.rglob("*"))) < len(before)) == (to == "ducho")


def test_the_order_file_reaches_the_rows(store, tmp_path):
    (tmp_path / "order.csv").write_text("name,id\nitem-3,x\nitem-1,y\nitem-0,z\n")
    export(
        store.path,
        "npy",
        tmp_path / "f.npy",
        order=tmp_path / "order.csv",
        id_column="name",
        missing="zero",
    )
    found = np.load(tmp_path / "f.npy")
    np.testing.assert_array_equal(found[[0, 2]], store.load().vectors[[3, 0]])
    assert not found[1].any()


@pytest.mark.parametrize(
    ("to", "name", "options", "says"),
    [
        ("npz", "f.npz", {}, "unknown format.*npy"),
        ("parquet", "f.npy", {}, r"ends in \.parquet"),
        ("npy", "f", {}, r"ends in \.npy"),
        ("recbole", "f.inter", {}, "RecBole wants"),
        ("npy", "f.npy", {"missing": "zero"}, "--missing zero: acts on the rows of --order"),
        ("npy", "f.npy", {"id_column": "id"}, "--id-column id: acts on the rows of --order"),
        ("parquet", "f.parquet", {"order": "o.txt"}, "--order .*: acts on --to npy"),
        ("ducho", "f", {"missing": "nan"}, "acts on --to npy"),
        ("npy", "s/f.npy", {}, "lies in the feature store"),
        ("ducho", "s", {"overwrite": True}, "lies in the feature store"),
        ("ducho", "", {"overwrite": True}, "lies in the feature store, or around it"),
        ("npy", "o.npy", {"order": "o.ids.txt"}, "would be overwritten"),
        ("npy", "folder.npy", {}, "a folder stands where the file should be"),
        ("ducho", "o.txt", {}, "is a file"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_written(
    store, tmp_path, to, name, options, says
):
    (tmp_path / "folder.npy").mkdir()
    for order in ("o.txt", "o.ids.txt"):
        (tmp_path / order).write_text("item-0\n")
    if "order" in options:
        options = options | {"order": tmp_path / options["order"]}
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError, match=says):
        export(store.path, to, tmp_path / name, **options)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_folder_of_somebody_elses_files_is_never_replaced(store, tmp_path):
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / "mine.txt").touch()
    with pytest.raises(InputError, match="is there already"):
        export(store.path, "ducho", tmp_path / "f")
    with pytest.raises(InputError, match="holds other files than an export"):
        export(store.path, "ducho", tmp_path / "f", overwrite=True)
    assert (tmp_path / "f" / "mine.txt").exists()


@pytest.mark.parametrize("to", FORMATS)
def test_stores_that_cannot_be_exported(tmp_path, fill_store, to):
    out = tmp_path / "new" / NAMES[to]
    half = fill_store(tmp_path / "half", np.ones((8, 2)), parts=[0, 1])
    none = fill_store(tmp_path / "none", np.ones((2, 2)), absent={0: "failed", 1: "missing"})
    nan = fill_store(tmp_path / "nan", [[1, np.nan]])
    damaged = fill_store(tmp_path / "damaged", np.ones((2, 2)))
    (damaged.path / "part-0.npy").write_bytes(b"x")
    for store, says in (
        (tmp_path / "nowhere", "no feature store here"),
        (half.path, "incomplete"),
        (none.path, "not one item has a vector"),
        (nan.path, "item 'item-0' counts as ok, but"),
        (damaged.path, "missing or damaged"),
    ):
        with pytest.raises(InputError, match=says):
            export(store, to, out)
        assert not out.parent.exists() or not list(out.parent.iterdir())


def test_a_full_disk_is_one_message_and_leaves_nothing(store, tmp_path):
    # A limit on the size of a file stands for the full disk: the system refuses alike.
    program = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "import polars, pyarrow.parquet\n"
        "from extract.errors import InputError\n"
        "from extract.export.run import export\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
        "for pair in sys.argv[2:]:\n"
        "    to, out = pair.split('=', 1)\n"
        "    try: export(Path(sys.argv[1]), to, Path(out))\n"
        "    except InputError as error: print(error)\n"
    )
    new = tmp_path / "new"
    pairs = [f"{to}={new / name}" for to, name in NAMES.items()]
    done = subprocess.run(
        [sys.executable, "-c", program, str(store.path), *pairs],
        capture_output=True,
        text=True,
        timeout=120,
    )
    lines = done.stdout.splitlines()
    assert len(lines) == 4, done.stderr
    for line, name in zip(lines, NAMES.values(), strict=True):
        assert line.startswith(f"{new / name}: cannot be written (")
    assert list(new.iterdir()) == []
