import hashlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image

from extract import preparation
from extract.catalog import Item
from extract.errors import InputError
from extract.media.reading import Reader
from extract.preparation import Preparation, prepare, size_of, threads_beside


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


class Working:
    """An encoder whose preprocessing is a given function of the text."""

    def __init__(self, work):
        self.preprocess = work

    def length(self, prepared):
        return 0


@pytest.fixture
def files(tmp_path):
    """``files(n)``: items of n text files, each a row that a thread takes up alone."""

    def make(n, contents=str) -> list[Item]:
        for k in range(n):
            (tmp_path / f"{k}.txt").write_text(contents(k))
        return [Item(f"i{k}", f"{k}.txt", None) for k in range(n)]

    return make


@pytest.fixture
def stream(reader):
    def make(parts, work, *, workers=1, ahead=5, beside=None):
        return Preparation(
            parts, reader, Working(work), workers=workers, ahead=ahead, beside=beside
        )

    return make


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("ahead", [1, 7])
@pytest.mark.parametrize("as_files", [True, False])
def test_items_come_in_their_order_whatever_the_threads_do(stream, files, workers, ahead, as_files):
    def slow_first(text):
        time.sleep(0.002 if int(text) % 5 == 0 else 0)
        return text

    rows = files(40) if as_files else items(40)
    with stream([rows[:13], [], rows[13:]], slow_first, workers=workers, ahead=ahead) as prepared:
        found = [(row.id, row.value) for row in prepared]
    assert found == [(f"i{k}", str(k)) for k in range(40)]


def test_texts_of_a_table_are_taken_up_many_at_a_time(stream):
    threads = {}
    rows = items(1000)
    with stream(
        [rows], lambda text: threads.setdefault(text, threading.get_ident()), workers=3, ahead=1000
    ) as prepared:
        assert len(list(prepared)) == 1000
    # Not a task each: neighbours are prepared by one thread.
    changes = sum(threads[str(k)] != threads[str(k + 1)] for k in range(999))
    assert changes <= 3


def test_no_more_rows_than_asked_are_prepared_ahead(stream, files):
    started = []
    with stream([files(100)], started.append, workers=4) as prepared:
        for taken in range(1, 30):
            next(prepared)
            time.sleep(0.001)
            assert len(started) <= taken + 5


def test_no_more_bytes_than_bounded_wait_for_the_encoder(stream, files, monkeypatch):
    monkeypatch.setattr(preparation, "_WAITING_BYTES", 10_000)
    started = []

    def large(text):
        started.append(text)
        return np.zeros(1000)  # 8000 bytes

    with stream([files(50)], large, workers=2, ahead=1000) as prepared:
        for taken in range(1, 20):
            next(prepared)
            time.sleep(0.003)
            # Two are enough to go beyond the bound, and another may have been begun before that.
            assert len(started) <= taken + 3


def test_threads_work_at_the_same_time(stream, files):
    meeting = threading.Barrier(3, timeout=20)

    def meet(text):
        meeting.wait()  # passes only if three are here at once

    with stream([files(3)], meet, workers=3) as prepared:
        assert [row.status for row in prepared] == ["ok"] * 3


@pytest.mark.parametrize("beside", [0, 1, 2])
def test_while_the_encoder_computes_fewer_threads_begin_a_row(stream, files, beside):
    running, most = set(), []

    def work(text):
        running.add(text)
        most.append(len(running))
        time.sleep(0.002)
        running.discard(text)

    with stream([files(60)], work, workers=3, ahead=60, beside=beside) as prepared:
        next(prepared)
        with prepared.encoding():
            time.sleep(0.01)  # what had begun is finished
            most.clear()
            time.sleep(0.04)
            assert max(most, default=0) == beside
        assert len(list(prepared)) == 59
    assert max(most) > beside


def test_what_is_computed_in_a_thread_stays_on_its_processor(stream, files):
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with stream([files(8)], lambda _: torch.get_num_threads(), workers=2) as prepared:
            assert torch.get_num_threads() == 3
            assert [row.value for row in prepared] == [1] * 8
        assert torch.get_num_threads() == 3
        with ThreadPoolExecutor(1) as later:
            assert later.submit(torch.get_num_threads).result() == 3
    finally:
        torch.set_num_threads(before)


def test_leaving_early_begins_no_more_rows(stream, files):
    done = []

    def work(text):
        time.sleep(0.01)
        done.append(text)

    with stream([files(300)], work, ahead=200) as prepared:
        next(prepared)
    assert len(done) < 10


def test_an_exception_in_a_thread_reaches_the_caller_in_its_turn(stream, files):
    def third_is_broken(text):
        if text == "2":
            raise InputError("gone")

    with stream([files(5)], third_is_broken, workers=2) as prepared:
        assert [next(prepared).id, next(prepared).id] == ["i0", "i1"]
        with pytest.raises(InputError, match="gone"):
            next(prepared)


def test_a_table_that_cannot_be_read_on_reaches_the_caller_in_its_turn(stream, files):
    def parts():
        yield files(4)
        raise InputError("the table has gone")

    with stream(parts(), str.upper, workers=3, ahead=100) as prepared:
        assert [next(prepared).id for _ in range(4)] == ["i0", "i1", "i2", "i3"]
        with pytest.raises(InputError, match="the table has gone"):
            next(prepared)


@pytest.mark.parametrize("as_files", [True, False])
def test_a_content_that_an_earlier_row_of_the_part_has_is_not_prepared_again(
    stream, files, tmp_path, as_files
):
    seen = []
    rows = (
        files(9, lambda k: "abc"[k % 3])
        if as_files
        else [Item(f"i{k}", None, "abc"[k % 3]) for k in range(9)]
    )

    def note(text):
        seen.append(text)
        return text

    with stream([rows[:6], rows[6:]], note) as prepared:
        found = list(prepared)
    assert seen == ["a", "b", "c", "a", "b", "c"]
    assert [row.status for row in found] == ["ok"] * 9
    assert [row.value for row in found] == [*"abc", None, None, None, *"abc"]
    assert [row.digest for row in found] == [
        hashlib.sha256(c.encode()).hexdigest() for c in "abc" * 3
    ]


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


def test_on_the_processor_only_cores_that_torch_leaves_over_prepare_beside_the_encoder():
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        assert threads_beside(torch.device("cpu"), 4) == 1
        assert threads_beside(torch.device("cpu"), 3) == 0
        assert threads_beside(torch.device("cpu"), 2) == 0
        assert threads_beside(torch.device("cuda", 0), 3) == 3
    finally:
        torch.set_num_threads(before)
