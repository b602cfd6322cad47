import os
import threading
import time

import numpy as np
import pytest
import torch

import extract
from extract import pipeline
from extract.errors import ExtractionInterrupted, TooManyErrors
from extract.extraction import run
from extract.store import FeatureStore


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


def test_an_interruption_says_what_is_kept_and_a_run_goes_on(config, byte_histogram):
    encoder, out = byte_histogram(), config().out
    encode = encoder.encode

    def interrupted(batch):
        if any(int(data.split()[-1]) >= at for data in batch):
            raise KeyboardInterrupt
        return encode(batch)

    encoder.encode = interrupted
    for at, says in (
        (5, "no part of 10 items was finished yet, so nothing is kept; with a smaller"),
        (10, f"1 of 3 parts are finished and kept in {out}; the same command goes on"),
        (20, f"2 of 3 parts are finished and kept in {out}; the same command goes on"),
    ):
        with pytest.raises(ExtractionInterrupted) as stop:
            run(config(), encoder=encoder)
        assert isinstance(stop.value, KeyboardInterrupt)
        assert str(stop.value).startswith(f"interrupted: {says}")
        # What it says is so: no part more, none less.
        assert len(list(out.glob("part-*.json"))) == at // 10
    assert run(config(), encoder=byte_histogram()).processed == 5


def test_an_interrupted_update_says_what_is_kept(config, byte_histogram, table):
    run(config(), encoder=byte_histogram())
    before = contents(config().out)
    table.write_text(table.read_text().replace("text ", "Text "))

    encoder = byte_histogram()

    def interrupted(batch):
        raise KeyboardInterrupt

    encoder.encode = interrupted
    with pytest.raises(ExtractionInterrupted, match=r"none of 3 parts was made anew yet; .* is as"):
        run(config(update=True), encoder=encoder)
    assert contents(config().out) == before


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


@pytest.mark.parametrize("spare", [0, 1])
def test_no_row_is_begun_on_a_core_that_the_encoder_computes_on(
    byte_histogram, tmp_path, monkeypatch, spare
):
    for n in range(30):
        (tmp_path / f"{n:02}.txt").write_text(f"text {n}")
    computing, meanwhile = threading.Event(), []

    class Watching(byte_histogram):
        def preprocess(self, raw):
            if computing.is_set():
                meanwhile.append(raw)
            time.sleep(0.02)
            return super().preprocess(raw)

        def encode(self, batch):
            time.sleep(0.08)  # rows that had begun are finished
            computing.set()
            time.sleep(0.04)
            computing.clear()
            return super().encode(batch)

    monkeypatch.setattr(pipeline, "WINDOW_ITEMS", 10)
    before = torch.get_num_threads()
    torch.set_num_threads(max(1, (os.cpu_count() or 1) - spare))
    try:
        if torch.get_num_threads() + spare != (os.cpu_count() or 1):
            pytest.skip("one core cannot be left over of one")
        values = {
            "items": tmp_path,
            "modality": "text",
            "out": tmp_path / "store",
            "batch_size": 10,
        }
        summary = run(
            extract.ExtractionConfig.parse(values | {"device": "cpu", "workers": 3}),
            encoder=Watching(),
        )
    finally:
        torch.set_num_threads(before)
    assert summary.ok == 30
    assert bool(meanwhile) == bool(spare)


def test_a_part_is_written_while_the_next_is_encoded_and_a_failure_to_write_ends_the_run(
    config, byte_histogram, monkeypatch, tmp_path
):
    written, encoding = [], threading.Event()

    def slow(store, part, content):
        if part == 0:
            # Passes only if the next part is being encoded now.
            assert encoding.wait(20)
        written.append(part)
        if part == 1:
            raise extract.InputError("the disk is full")
        write_part(store, part, content)

    class Telling(byte_histogram):
        def encode(self, batch):
            if any(int(data.split()[-1]) >= 10 for data in batch):
                encoding.set()
            return super().encode(batch)

    write_part = FeatureStore.write_part
    monkeypatch.setattr(FeatureStore, "write_part", slow)
    with pytest.raises(extract.InputError, match="the disk is full"):
        run(config(), encoder=Telling())
    assert written == [0, 1]
    monkeypatch.undo()
    monkeypatch.setattr(Telling, "encode", byte_histogram.encode)
    assert run(config(), encoder=Telling()).processed == 15


def test_what_memory_allows_is_known_to_the_next_part(config, byte_histogram):
    class Small(byte_histogram):
        def encode(self, batch):
            vectors = super().encode(batch)
            if len(batch) > 2:
                raise MemoryError
            return vectors

    encoder = Small()
    run(config(), encoder=encoder)
    sizes = [len(batch) for batch in encoder.batches]
    assert sizes[0] == 4
    assert max(sizes[1:]) == 2
