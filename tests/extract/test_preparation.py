import threading
import time

import numpy as np
import pytest
import torch
from PIL import Image

from extract.catalog import Item
from extract.errors import InputError
from extract.media.reading import Reader
from extract.preparation import Preparation, Prepared, prepare, size_of


@pytest.fixture
def reader(tmp_path):
    return Reader(modality="text", base=tmp_path, roots=[tmp_path], max_seconds=1)


def items(n) -> list[Item]:
    return [Item(f"i{k}", None, str(k)) for k in range(n)]


def with_preprocess(encoder_class, function):
    encoder = encoder_class()
    encoder.preprocess = function
    return encoder


def test_a_row_becomes_what_the_encoder_takes(reader, byte_histogram):
    prepared = prepare(Item("a", None, "héron"), reader, byte_histogram())
    assert (prepared.status, prepared.value, prepared.length) == ("ok", "héron".encode(), 6)


def test_rows_without_or_with_bad_media_have_their_reasons(reader, byte_histogram):
    encoder = byte_histogram()
    missing = prepare(Item("a", None, None), reader, encoder)
    assert (missing.status, missing.reason, missing.digest) == (
        "missing",
        "no value in the table",
        None,
    )
    empty = prepare(Item("a", None, " "), reader, encoder)
    assert (empty.status, empty.reason) == ("failed", "empty text")
    assert empty.digest is not None
    lost = prepare(Item("a", "lost.txt", None), reader, encoder)
    assert (lost.status, lost.reason) == ("failed", "file not found")


def test_what_the_encoder_cannot_take_is_the_items_own_failure(reader, byte_histogram):
    def refuses(raw):
        raise ValueError("shorter than\none window")

    prepared = prepare(Item("a", None, "x"), reader, with_preprocess(byte_histogram, refuses))
    assert (prepared.status, prepared.reason) == ("failed", "shorter than one window")
    assert prepared.error is None


def test_another_exception_is_kept_for_judging_the_encoder(reader, byte_histogram):
    def broken(raw):
        raise TypeError("no such argument")

    prepared = prepare(Item("a", None, "x"), reader, with_preprocess(byte_histogram, broken))
    assert prepared.status == "failed"
    assert prepared.reason == "encoder failed: TypeError: no such argument"
    assert isinstance(prepared.error, TypeError)


def test_an_input_error_of_the_encoder_ends_the_run(reader, byte_histogram):
    def impossible(raw):
        raise InputError("the weights are gone")

    with pytest.raises(InputError, match="weights are gone"):
        prepare(Item("a", None, "x"), reader, with_preprocess(byte_histogram, impossible))


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("task_rows", [1, 3, 50])
@pytest.mark.parametrize("ahead", [1, 7])
def test_items_come_in_their_order_whatever_the_threads_do(workers, task_rows, ahead):
    def slow_first(item: Item) -> Prepared:
        time.sleep(0.002 if int(item.id[1:]) % 5 == 0 else 0)
        return Prepared(item.id, "ok")

    stream = Preparation(items(40), slow_first, workers=workers, task_rows=task_rows, ahead=ahead)
    with stream:
        assert [prepared.id for prepared in stream] == [f"i{k}" for k in range(40)]


def test_no_more_than_asked_is_prepared_ahead():
    started = []

    def note(item: Item) -> Prepared:
        started.append(item.id)
        return Prepared(item.id, "ok")

    with Preparation(items(100), note, workers=4, task_rows=1, ahead=5) as stream:
        for taken in range(1, 30):
            next(stream)
            time.sleep(0.001)
            assert len(started) <= taken + 5


def test_threads_work_at_the_same_time():
    meeting = threading.Barrier(3, timeout=20)

    def meet(item: Item) -> Prepared:
        meeting.wait()  # passes only if three are here at once
        return Prepared(item.id, "ok")

    with Preparation(items(3), meet, workers=3, task_rows=1, ahead=3) as stream:
        assert len(list(stream)) == 3


def test_leaving_early_cancels_what_waits():
    done = []

    def work(item: Item) -> Prepared:
        time.sleep(0.01)
        done.append(item.id)
        return Prepared(item.id, "ok")

    with Preparation(items(1000), work, workers=1, task_rows=1, ahead=500) as stream:
        next(stream)
    assert len(done) < 10


def test_an_exception_in_a_thread_reaches_the_caller():
    def broken(item: Item) -> Prepared:
        raise InputError("gone")

    stream = Preparation(items(3), broken, workers=2, task_rows=1, ahead=2)
    with stream, pytest.raises(InputError, match="gone"):
        next(stream)


def test_sizes_are_those_of_the_arrays():
    assert size_of(torch.zeros(3, 4)) == 48
    assert size_of(np.zeros((3, 4))) == 96
    assert size_of(Image.new("RGB", (10, 20))) == 600
    nested = {"a": [torch.zeros(2), (np.zeros(1),)], "b": torch.zeros(1, dtype=torch.int64)}
    assert size_of(nested) == 8 + 8 + 8

    class Holder:
        def __init__(self):
            self.pixels = torch.zeros(100)

    assert size_of(Holder()) == 400
    assert 10_000 <= size_of("x" * 10_000) <= 10_100
    assert size_of(list(range(1000))) == 32_000
    assert size_of(None) > 0


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate")]
)
def test_memory_that_runs_out_in_preprocess_is_named_as_such(reader, byte_histogram, error):
    def hungry(raw):
        raise error

    prepared = prepare(Item("a", None, "x"), reader, with_preprocess(byte_histogram, hungry))
    assert prepared.status == "failed"
    assert prepared.reason == "out of memory while preparing or encoding this item"
    assert prepared.error is error


@pytest.mark.parametrize("length", [None, "4", torch.tensor(4), 4.0])
def test_a_length_that_is_no_whole_number_ends_the_run_in_one_line(reader, byte_histogram, length):
    encoder = byte_histogram()
    encoder.length = lambda _: length
    with pytest.raises(InputError, match=r"ByteHistogram\.length\(\) must give a whole number"):
        prepare(Item("a", None, "x"), reader, encoder)
