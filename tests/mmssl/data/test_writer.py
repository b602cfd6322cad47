from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from safetensors.torch import save_file

from extract.errors import InputError
from extract.files import atomic_folder
from mmssl.data.dataset import Dataset
from mmssl.data.prepare import PrepareConfig, prepare
from mmssl.data.writer import write_dataset


def run(options, **changes):
    return prepare(PrepareConfig.parse(options | changes))


def content(folder):
    return {
        path.relative_to(folder): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_the_same_again_changes_nothing_and_says_so(ready_split, monkeypatch):
    assert run(ready_split).written
    before = content(ready_split["out"])
    report = run(ready_split)
    assert not report.written
    assert "already there, unchanged" in report.lines()[-1]
    # The same files by other names for the paths are the same sources.
    monkeypatch.chdir(ready_split["train"].parent)
    paths = {part: ready_split[part].name for part in ("train", "val", "test")}
    assert not run(ready_split | paths).written
    assert content(ready_split["out"]) == before


def test_how_a_library_writes_its_files_is_no_part_of_the_dataset(ready_split, monkeypatch):
    first = run(ready_split)
    Dataset.open(ready_split["out"]).read_test("a")
    write = pl.DataFrame.write_parquet

    def otherwise(frame, path):
        write(frame, path, compression="uncompressed", metadata={"written by": "version 3"})

    monkeypatch.setattr(pl.DataFrame, "write_parquet", otherwise)
    other = run(ready_split, out=ready_split["out"].with_name("other"))
    assert other.manifest.files["test.parquet"] != first.manifest.files["test.parquet"]
    assert Dataset.open(other.out).digest == first.manifest.digest
    # The dataset in place is this one: nothing is refused and no reading forgotten.
    assert not run(ready_split).written
    assert Dataset.open(ready_split["out"]).test_reads() == 1


@pytest.mark.parametrize("name", ["features/image", "train", "val", "test", "users", "items"])
def test_every_part_of_the_content_counts(ready_split, name):
    first = run(ready_split).manifest
    changed = {
        "train": "1,11\n",
        "val": "2,11\n",
        "test": "3,11\n",
        "users": "new,1\n",
        "items": "1,new\n",
    }
    if name == "features/image":
        path = ready_split["features"]["image"]
        values = np.load(path)
        values[3, 1] += 1
        np.save(path, values)
    else:
        with ready_split[name if name in ("val", "test") else "train"].open("a") as more:
            more.write(changed[name])
    second = run(ready_split, overwrite=True).manifest
    assert second.contents.keys() == first.contents.keys()
    differing = {key for key in first.contents if first.contents[key] != second.contents[key]}
    wanted = {name} | ({"train"} if name in ("users", "items") else set())
    if name == "items":
        wanted |= {"features/image", "features/audio"}  # one row more, without features
    assert differing == wanted
    assert second.digest != first.digest


def test_another_dataset_is_only_replaced_when_asked(ready_split):
    first = run(ready_split)
    ready_split["features"].pop("audio")
    with pytest.raises(InputError, match="with features 'audio', which is not named now; add --ov"):
        run(ready_split)
    assert Dataset.open(ready_split["out"]).digest == first.manifest.digest
    with ready_split["train"].open("a") as more:
        more.write("0,11\n")
    with pytest.raises(InputError, match="from another source 'train', with features 'audio'"):
        run(ready_split)
    assert run(ready_split, overwrite=True).written
    assert list(Dataset.open(ready_split["out"]).features) == ["image"]
    assert [path.name for path in ready_split["out"].parent.iterdir() if path.name[0] == "."] == []


def test_a_damaged_dataset_can_be_replaced(ready_split):
    run(ready_split)
    (ready_split["out"] / "train.parquet").write_bytes(b"")
    with pytest.raises(InputError, match=r"it cannot be opened: .*train\.parquet: changed"):
        run(ready_split)
    run(ready_split, overwrite=True)
    assert len(Dataset.open(ready_split["out"]).train)


def test_an_empty_folder_is_taken(ready_split):
    ready_split["out"].mkdir()
    assert run(ready_split).written


@pytest.mark.parametrize("overwrite", [False, True])
def test_what_is_not_a_dataset_is_never_touched(ready_split, tmp_path, make_store, overwrite):
    out = ready_split["out"]
    out.write_text("a file")
    with pytest.raises(InputError, match="a file, not a folder"):
        run(ready_split, overwrite=overwrite)
    out.unlink()
    # A feature store has a manifest.json too.
    make_store(out, ["a"], np.ones((1, 1), np.float32))
    before = content(out)
    with pytest.raises(InputError, match="not empty and not a dataset"):
        run(ready_split, overwrite=overwrite)
    assert content(out) == before
    other = ready_split | {"out": tmp_path / "other"}
    run(other)
    (tmp_path / "other" / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"holds 'notes\.txt', which is not part of a dataset"):
        run(other, overwrite=overwrite)


def test_an_interruption_leaves_the_old_dataset_and_no_litter(ready_split):
    run(ready_split)
    before = content(ready_split["out"])

    def interrupted(folder):
        (folder / "users.parquet").write_bytes(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_dataset(ready_split["out"], interrupted, overwrite=True)
    assert content(ready_split["out"]) == before
    assert sorted(path.name for path in ready_split["out"].parent.iterdir()) == [
        "dataset",
        "source",
    ]


def test_a_link_stays_and_what_it_points_to_is_the_dataset(ready_split, tmp_path):
    (tmp_path / "far").mkdir()
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "far")
    assert run(ready_split, out=link).written
    assert link.is_symlink()
    assert Dataset.open(tmp_path / "far").digest == Dataset.open(link).digest
    assert not run(ready_split, out=link).written


def test_folders_that_cannot_be_made_are_one_line(ready_split, tmp_path, monkeypatch):
    with pytest.raises(InputError, match="cannot be a folder's name"):
        run(ready_split, out=tmp_path / ("x" * 300))
    (tmp_path / "round").symlink_to(tmp_path / "round")
    with pytest.raises(InputError, match="round: "):
        run(ready_split, out=tmp_path / "round")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(InputError, match="the folder that you are in"):
        run(ready_split, out=Path())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["here", "round", "source"]


def test_a_full_disk_is_one_line_whatever_library_writes(tmp_path):
    resource = pytest.importorskip("resource")
    frame = pl.DataFrame({"a": np.random.default_rng(0).normal(size=200_000)})
    tensor = {"a": torch.zeros(200_000)}
    writers = {
        "polars": lambda new: frame.write_parquet(new / "a.parquet"),
        "numpy": lambda new: np.save(new / "a.npy", frame["a"].to_numpy()),
        "safetensors": lambda new: save_file(tensor, new / "a.safetensors"),
    }

    def fill(name):
        with atomic_folder(tmp_path / "new") as new:
            writers[name](new)

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    for name in writers:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2**19, limits[1]))
        try:
            with pytest.raises(InputError, match="new: cannot be written"):
                fill(name)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list(tmp_path.iterdir())
