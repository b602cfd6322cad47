"""A store on a disk that is too small, a real one: a small tmpfs, where it can be mounted."""

import shutil
import subprocess

import numpy as np
import pytest

import extract
from extract.errors import InputError
from extract.extraction import run
from extract.store import FeatureStore

ITEMS = 400


@pytest.fixture
def disk(tmp_path):
    """A folder of 256 KiB: 400 vectors of 256 numbers take 400."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "mmssl-test", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a tmpfs cannot be mounted here (that needs root)")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def config(write_items, disk):
    texts = [[f"i{n}", f"text {n}"] for n in range(ITEMS)]
    return extract.ExtractionConfig(
        items=write_items(["id", "text"], texts),
        modality="text",
        out=disk / "store",
        rows_per_part=32,
    )


def test_a_full_disk_ends_the_run_clearly_and_it_goes_on_when_there_is_room(
    config, byte_histogram, disk
):
    with pytest.raises(InputError, match=r"part \d+ could not be written \(No space left") as error:
        run(config, encoder=byte_histogram())
    assert "the other finished parts are kept: mend this and run the same" in str(error)
    store = FeatureStore.open(config.out)
    pending = store.verify()
    assert 0 < len(pending) < store.part_count
    # What did not fit takes no room.
    assert not list(config.out.glob(f"part-{pending[0]}.*"))
    subprocess.run(["mount", "-o", "remount,size=2m", str(disk)], check=True)
    encoder = byte_histogram()
    summary = run(config, encoder=encoder)
    assert summary.ok == ITEMS
    encoded = sum(len(batch) for batch in encoder.batches)
    assert encoded == sum(len(store.part_rows(part)) for part in pending)
    counts = FeatureStore.open(config.out).load().vectors.sum(axis=1)
    np.testing.assert_array_equal(counts, [len(f"text {n}") for n in range(ITEMS)])


def test_a_disk_that_is_full_from_the_beginning_is_one_line(config, byte_histogram, disk):
    (disk / "filler").write_bytes(b"x" * (256 * 1024 - 4096))
    with pytest.raises(InputError, match=r"cannot be written \(No space left"):
        run(config, encoder=byte_histogram())
    (disk / "filler").unlink()
    subprocess.run(["mount", "-o", "remount,size=2m", str(disk)], check=True)
    assert run(config, encoder=byte_histogram()).ok == ITEMS
