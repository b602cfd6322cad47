import numpy as np
import pytest

import extract
from extract.errors import TooManyErrors
from extract.extraction import run


@pytest.fixture
def table(write_items):
    texts = [f"text {'x' * (n % 7)} {n}" for n in range(25)]
    for n in (4, 9, 14, 19):
        texts[n] = "  "
    return write_items(["item_id", "text"], [[f"i{n}", text] for n, text in enumerate(texts)])


@pytest.fixture
def config(table, tmp_path):
    def make(**options):
        values = {"items": table, "modality": "text", "out": tmp_path / "store", "batch_size": 4}
        return extract.ExtractionConfig.parse(values | {"rows_per_part": 10} | options)

    return make


def encoded(encoder) -> list[bytes]:
    return [data for batch in encoder.batches for data in batch]


def contents(store) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in store.iterdir()}


def test_batches_and_sorting_never_cross_a_part(config, byte_histogram):
    encoder = byte_histogram()
    run(config(), encoder=encoder)
    rows = [int(data.split()[-1]) // 10 for data in encoded(encoder)]
    assert rows == sorted(rows)
    for batch in encoder.batches:
        assert len({int(data.split()[-1]) // 10 for data in batch}) == 1


def test_only_parts_that_are_not_whole_are_encoded_again(config, byte_histogram):
    run(config(), encoder=byte_histogram())
    before = contents(config().out)
    (config().out / "part-1.json").unlink()
    encoder = byte_histogram()
    summary = run(config(), encoder=encoder)
    rows = {int(data.split()[-1]) for data in encoded(encoder)}
    assert rows == set(range(10, 20)) - {14, 19}
    assert (summary.processed, summary.items) == (10, 25)
    assert contents(config().out) == before


def test_a_damaged_part_is_made_anew(config, byte_histogram):
    run(config(), encoder=byte_histogram())
    before = contents(config().out)
    (config().out / "part-0.npy").write_bytes(b"torn")
    assert run(config(), encoder=byte_histogram()).processed == 10
    assert contents(config().out) == before


def test_the_number_of_threads_changes_no_byte(config, byte_histogram):
    stores = []
    for workers in (1, 5):
        run(config(workers=workers, overwrite=True), encoder=byte_histogram())
        stores.append(contents(config().out))
    assert stores[0] == stores[1]


def test_too_many_errors_end_the_run_and_keep_finished_parts(config, byte_histogram, tmp_path):
    with pytest.raises(TooManyErrors, match=r"more than 2 items failed.*'i14': empty text"):
        run(config(max_errors=2), encoder=byte_histogram())
    assert (tmp_path / "store/part-0.json").exists()
    assert not (tmp_path / "store/part-1.json").exists()
    # Failures of kept parts count, so the same command ends in the same way.
    with pytest.raises(TooManyErrors, match="more than 2 items failed"):
        run(config(max_errors=2), encoder=byte_histogram())
    encoder = byte_histogram()
    summary = run(config(max_errors=4), encoder=encoder)
    assert (summary.failed, summary.ok, summary.processed) == (4, 21, 15)
    assert all(int(data.split()[-1]) >= 10 for data in encoded(encoder))


def test_a_broken_encoder_leaves_no_part_behind(config, byte_histogram, write_items):
    class Broken(byte_histogram):
        def encode(self, batch):
            raise AttributeError("no attribute 'model'")

    small = write_items(["id", "text"], [["a", "b"]], "small.csv")
    with pytest.raises(extract.InputError, match="no attribute 'model'"):
        run(config(items=small), encoder=Broken())
    assert {file.name for file in config().out.iterdir()} == {"manifest.json", "items-0.parquet"}


def test_one_bad_item_in_the_last_part_does_not_look_like_a_broken_encoder(
    config, byte_histogram, write_items
):
    class Picky(byte_histogram):
        def encode(self, batch):
            if any(data.startswith(b"bad") for data in batch):
                raise RuntimeError("not this one")
            return super().encode(batch)

    rows = [[f"i{n}", "good"] for n in range(10)] + [["last", "bad"]]
    table = write_items(["id", "text"], rows, "eleven.csv")
    run(config(items=table), encoder=Picky())
    (config().out / "part-1.json").unlink()
    # This run sees nothing but the bad item.
    summary = run(config(items=table), encoder=Picky())
    assert (summary.ok, summary.failed, summary.processed) == (10, 1, 1)
    assert summary.reasons == {"encoder failed: RuntimeError: not this one": 1}


def test_rows_and_vectors_agree_over_the_borders_of_parts(config, byte_histogram, histogram_of):
    run(config(), encoder=byte_histogram())
    loaded = extract.FeatureStore.open(config().out).load()
    for n in range(25):
        if n in (4, 9, 14, 19):
            assert not loaded.present[n]
        else:
            text = f"text {'x' * (n % 7)} {n}"
            np.testing.assert_array_equal(loaded.vectors[n], histogram_of(text))
