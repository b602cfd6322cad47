import time
import weakref

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from extract import pipeline
from extract.catalog import Item
from extract.errors import InputError
from extract.media.files import MediaError
from extract.media.reading import Reader
from extract.pipeline import BatchSize, Faults, encode_part
from extract.preparation import Preparation

WORDS = ["a", "bb" * 50, "ccc", "", "d" * 30, None, "ee", "é" * 7, "f" * 99, "gg g"]


@pytest.fixture
def run_part(tmp_path):
    def run(
        texts,
        encoder,
        *,
        batch_size=3,
        workers=2,
        faults=None,
        batches=None,
        finished=lambda rows: None,
    ):
        reader = Reader(modality="text", base=tmp_path, roots=[tmp_path], max_seconds=1)
        items = [Item(f"i{k}", None, text) for k, text in enumerate(texts)]
        with Preparation([items], reader, encoder, workers=workers, ahead=4) as stream:
            return encode_part(
                stream,
                len(texts),
                encoder,
                batches=batches or BatchSize(batch_size),
                faults=faults or Faults(encoded=False),
                finished=finished,
            )

    return run


def failing_on(encoder_class, bad, error):
    """An encoder that raises on every batch with the item ``bad`` in it."""

    class Failing(encoder_class):
        def encode(self, batch):
            if bad in batch:
                raise error
            return super().encode(batch)

    return Failing()


def test_every_row_gets_the_vector_of_its_own_text(run_part, byte_histogram, histogram_of):
    part = run_part(WORDS, byte_histogram())
    for row, text in enumerate(WORDS):
        if text:
            np.testing.assert_array_equal(part.vectors[row], histogram_of(text))
        else:
            assert np.isnan(part.vectors[row]).all()
    assert part.statuses["id"].to_list() == [f"i{k}" for k in range(10)]
    assert (
        part.statuses["status"].to_list() == ["ok"] * 3 + ["failed", "ok", "missing"] + ["ok"] * 4
    )
    assert part.statuses["reason"].to_list()[3] == "empty text"


def test_batches_hold_texts_of_like_length(run_part, byte_histogram):
    encoder = byte_histogram()
    run_part(WORDS, encoder, batch_size=3)
    lengths = [len(data) for batch in encoder.batches for data in batch]
    assert lengths == sorted(len(text.encode()) for text in WORDS if text)
    assert [len(batch) for batch in encoder.batches] == [3, 3, 2]


@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_the_result_depends_on_neither_batch_size_nor_threads(run_part, byte_histogram, batch_size):
    once = run_part(WORDS, byte_histogram(), batch_size=3, workers=1)
    again = run_part(WORDS, byte_histogram(), batch_size=batch_size, workers=4)
    np.testing.assert_array_equal(once.vectors, again.vectors)
    assert once.statuses.equals(again.statuses)


@pytest.mark.parametrize("limit", ["WINDOW_ITEMS", "WINDOW_BYTES"])
def test_a_window_bounds_what_is_held_and_sorts_within_itself(
    run_part, byte_histogram, histogram_of, monkeypatch, limit
):
    monkeypatch.setattr(pipeline, limit, 4 if limit == "WINDOW_ITEMS" else 150)
    encoder, texts = byte_histogram(), ["x" * (20 - k) for k in range(20)]
    part = run_part(texts, encoder, batch_size=2)
    # Four texts fill a window (four is also the first even number above 150 bytes), which is sorted
    # by itself.
    lengths = [[len(data) for data in batch] for batch in encoder.batches]
    assert lengths[:4] == [[17, 18], [19, 20], [13, 14], [15, 16]]
    np.testing.assert_array_equal(part.vectors, [histogram_of(text) for text in texts])


def test_one_bad_item_does_not_cost_its_batch(run_part, byte_histogram, histogram_of):
    encoder = failing_on(byte_histogram, b"ccc", RuntimeError("odd\nlength"))
    part = run_part(WORDS, encoder, batch_size=8)
    assert part.statuses["status"].to_list()[2] == "failed"
    assert part.statuses["reason"].to_list()[2] == "encoder failed: RuntimeError: odd length"
    assert np.isnan(part.vectors[2]).all()
    assert part.statuses["status"].to_list().count("ok") == 7
    np.testing.assert_array_equal(part.vectors[0], histogram_of("a"))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_vector_that_is_not_finite_is_a_failure(run_part, byte_histogram, value):
    class Overflowing(byte_histogram):
        def encode(self, batch):
            vectors = super().encode(batch)
            vectors[[data == b"ee" for data in batch], 7] = value
            return vectors

    part = run_part(WORDS, Overflowing())
    assert part.statuses["reason"].to_list()[6] == "encoder returned NaN or infinity"
    assert np.isnan(part.vectors[6]).all()
    assert np.isfinite(part.vectors[7]).all()


def test_half_precision_on_the_way_is_stored_as_float32(run_part, byte_histogram, histogram_of):
    class Half(byte_histogram):
        def encode(self, batch):
            return super().encode(batch).to(torch.bfloat16)

    part = run_part(["aab"], Half())
    assert part.vectors.dtype == np.float32
    np.testing.assert_array_equal(part.vectors[0], histogram_of("aab"))


@pytest.mark.parametrize(
    ("output", "says"),
    [
        (torch.zeros(2, 256), r"shape \(2, 256\) for a batch of 3; \(3, 256\) was expected"),
        (torch.zeros(3, 255), r"shape \(3, 255\)"),
        (torch.zeros(3, 256, dtype=torch.int64), r"torch\.int64, not a floating-point tensor"),
        (np.zeros((3, 256), dtype=np.float32), "not a floating-point tensor"),
        (None, "NoneType"),
    ],
)
def test_an_encoder_that_breaks_its_contract_ends_the_run(run_part, byte_histogram, output, says):
    class Wrong(byte_histogram):
        def encode(self, batch):
            return output

    with pytest.raises(InputError, match=says):
        run_part(["a", "b", "c"], Wrong())


class NoRoom:
    """Mixed into an encoder: raises once a batch holds more than so many items, or a long one."""

    most, longest, error = 2, 10**9, torch.OutOfMemoryError

    def encode(self, batch):
        vectors = super().encode(batch)  # notes the batch
        if len(batch) > self.most or max(map(len, batch)) > self.longest:
            raise self.error("CUDA out of memory. Tried to allocate 2.00 GiB")
        return vectors


OUT_OF_MEMORY = [
    torch.OutOfMemoryError,
    MemoryError,
    lambda _: RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate"),
    lambda _: RuntimeError("MPS backend out of memory"),
    lambda _: RuntimeError("CUBLAS_STATUS_ALLOC_FAILED"),
]


@pytest.mark.parametrize("error", OUT_OF_MEMORY)
def test_a_batch_halves_itself_when_memory_runs_out_and_stays_halved(
    run_part, byte_histogram, histogram_of, caplog, error
):
    encoder = type("Small", (NoRoom, byte_histogram), {"error": staticmethod(error)})()
    texts, batches = [f"{k:02}" for k in range(20)], BatchSize(7)
    part = run_part(texts, encoder, batches=batches)
    np.testing.assert_array_equal(part.vectors, [histogram_of(text) for text in texts])
    assert part.statuses["status"].to_list() == ["ok"] * 20
    # 7 are tried once; 4 and 3 then; afterwards never more than 2.
    sizes = [len(batch) for batch in encoder.batches]
    assert sizes == [7, 4, 2, 2, 3, 2, 1] + [2] * 6 + [1]
    # Said once, with what to do about it the next time.
    (said,) = caplog.messages
    assert said == "out of memory: the encoder gets 2 items at once from now on (--batch-size 2)"
    # Another part of the run begins with what is known to fit.
    encoder.batches.clear()
    run_part(texts, encoder, batches=batches)
    assert max(len(batch) for batch in encoder.batches) == batches.now


def test_an_item_that_does_not_fit_even_alone_is_a_failure_and_slows_no_other(
    run_part, byte_histogram, histogram_of, caplog
):
    encoder = type("Small", (NoRoom, byte_histogram), {"most": 99, "longest": 50})()
    texts = [*(f"{k:02}" for k in range(15)), "x" * 60, *(f"{k:02}" for k in range(20, 24))]
    part = run_part(texts, encoder, batch_size=4)
    reason = "out of memory while preparing or encoding this item"
    assert part.statuses["reason"].to_list() == [None] * 15 + [reason] + [None] * 4
    assert np.isnan(part.vectors[15]).all()
    rest = [row for row in range(20) if row != 15]
    np.testing.assert_array_equal(part.vectors[rest], [histogram_of(texts[row]) for row in rest])
    encoder.batches.clear()
    batches = BatchSize(4)
    run_part([*texts, "y" * 2000], encoder, batches=batches)
    assert batches.now == 4
    assert not caplog.messages


def test_memory_that_is_gone_for_good_ends_the_run_instead_of_failing_every_item(
    run_part, byte_histogram
):
    encoder = type("Full", (NoRoom, byte_histogram), {"most": 0})()
    texts = [f"{k:03}" for k in range(200)]
    with pytest.raises(
        InputError, match=r"out of memory for each of the last 64 items, even alone"
    ):
        run_part(texts, encoder, batch_size=16, faults=Faults(encoded=True))


def test_what_a_failed_attempt_held_is_let_go_before_the_next(run_part, byte_histogram):
    alive = weakref.WeakSet()

    class Activations:
        pass

    class Hungry(byte_histogram):
        def encode(self, batch):
            assert not alive, "the last attempt still holds its memory"
            held = Activations()
            alive.add(held)
            if len(batch) > 1 or batch[0] == b"c":
                raise MemoryError
            return super().encode(batch)

    part = run_part(["a", "b", "c", "d", "e"], Hungry(), batch_size=4)
    assert part.statuses["status"].to_list() == ["ok", "ok", "failed", "ok", "ok"]


def test_a_device_that_failed_ends_the_run(run_part, byte_histogram):
    encoder = failing_on(byte_histogram, b"b", torch.AcceleratorError("device-side assert"))
    with pytest.raises(InputError, match="the device failed: device-side assert"):
        run_part(["a", "b", "c"], encoder, faults=Faults(encoded=True))


@pytest.mark.parametrize("batch_size", [1, 8, 16])
@pytest.mark.parametrize("method", ["encode", "preprocess"])
def test_an_encoder_that_fails_on_everything_is_at_fault_itself(
    run_part, byte_histogram, method, batch_size
):
    class Broken(byte_histogram):
        calls = 0

    def broken(self, argument):
        Broken.calls += 1
        raise TypeError("unexpected keyword argument 'x'")

    setattr(Broken, method, broken)
    with pytest.raises(InputError, match="encoder failed: TypeError: unexpected") as ending:
        run_part([str(k) for k in range(500)], Broken(), batch_size=batch_size)
    # Where it happened is named, and it is noticed long before the end.
    assert "test_pipeline.py:" in str(ending.value)
    assert isinstance(ending.value.__cause__, TypeError)
    assert method == "preprocess" or Broken.calls <= 17


def test_failures_of_different_kinds_or_after_a_success_are_the_items_own(run_part, byte_histogram):
    class Picky(byte_histogram):
        def encode(self, batch):
            if any(data.startswith(b"bad") for data in batch):
                raise RuntimeError("not this one")
            return super().encode(batch)

    texts = ["bad" + "x" * k for k in range(40)]
    part = run_part(texts, Picky(), faults=Faults(encoded=True), batch_size=8)
    assert part.statuses["status"].to_list() == ["failed"] * 40
    part = run_part(["a", *texts], Picky(), batch_size=8)
    assert part.statuses["status"].to_list() == ["ok"] + ["failed"] * 40

    class Varied(byte_histogram):
        def encode(self, batch):
            if len(batch[0]) % 2:
                raise RuntimeError("odd")
            raise KeyError("even")

    part = run_part(texts, Varied(), batch_size=8)
    assert part.statuses["status"].to_list() == ["failed"] * 40


def test_the_last_check_takes_even_a_single_item():
    faults = Faults(encoded=False)
    faults.check(at_least=1)
    faults.record(RuntimeError("boom"))
    faults.check(at_least=8)
    with pytest.raises(InputError, match="RuntimeError: boom"):
        faults.check(at_least=1)


def test_each_row_is_reported_once_when_its_status_is_final(run_part, byte_histogram):
    seen = []
    encoder = failing_on(byte_histogram, b"ccc", RuntimeError("no"))
    part = run_part(WORDS, encoder, finished=seen.extend)
    told = sorted((row.id, row.status) for row in seen)
    assert told == list(part.statuses.select("id", "status").iter_rows())


def test_prepared_values_are_let_go_once_encoded(run_part, byte_histogram):
    rows = []
    run_part(WORDS, byte_histogram(), finished=rows.extend)
    assert len(rows) == 10
    assert all(row.value is None for row in rows)


def test_a_part_that_no_memory_can_hold_is_one_line(byte_histogram):
    with pytest.raises(InputError, match=r"no memory for .* vectors of 256 .* --rows-per-part"):
        encode_part(
            iter(()),
            10**15,
            byte_histogram(),
            batches=BatchSize(1),
            faults=Faults(False),
            finished=print,
        )


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    texts=st.lists(st.sampled_from(["", " ", "a", "b", "bb", "ccc" * 9, "bad", None]), min_size=1),
    batch_size=st.integers(1, 5),
    workers=st.integers(1, 3),
)
def test_a_content_is_encoded_once_in_a_part_and_nothing_else_changes(
    run_part, byte_histogram, texts, batch_size, workers
):
    class Picky(byte_histogram):
        def encode(self, batch):
            vectors = super().encode(batch)
            if b"bad" in batch:
                raise RuntimeError("not this one")
            return vectors

    encoder, told = Picky(), []
    part = run_part(
        texts,
        encoder,
        batch_size=batch_size,
        workers=workers,
        faults=Faults(encoded=True),
        finished=told.extend,
    )
    seen = {data for batch in encoder.batches for data in batch}
    usable = {text.encode() for text in texts if text and text.strip()}
    assert seen == usable
    if "bad" not in texts:
        # No batch was tried again: each content was seen once.
        assert sum(map(len, encoder.batches)) == len(usable)
    # Every row is as it would be if it were alone in its part.
    for row, text in enumerate(texts):
        alone = run_part([text], Picky(), faults=Faults(encoded=True))
        np.testing.assert_array_equal(part.vectors[row], alone.vectors[0])
        assert part.statuses.row(row)[1:] == alone.statuses.row(0)[1:]
    assert sorted(row.id for row in told) == sorted(part.statuses["id"])


def test_of_equal_contents_the_first_is_encoded_whichever_thread_is_faster(
    byte_histogram, tmp_path
):
    texts = ["slow", "quick", "slow", "quick", "quick", "slow"]
    for k, text in enumerate(texts):
        (tmp_path / f"{k}.txt").write_text(text)
    items = [Item(f"i{k}", f"{k}.txt", None) for k in range(6)]
    reader = Reader(modality="text", base=tmp_path, roots=[tmp_path], max_seconds=1)

    class Waiting(byte_histogram):
        """Lets later rows with the same text overtake the first."""

        prepared = 0

        def preprocess(self, raw):
            if raw == "slow":
                time.sleep(0.02)
            return super().preprocess(raw)

    encoder = Waiting()
    with Preparation([items], reader, encoder, workers=3, ahead=6) as stream:
        part = encode_part(
            stream,
            6,
            encoder,
            batches=BatchSize(8),
            faults=Faults(encoded=False),
            finished=lambda rows: None,
        )
    assert encoder.batches == [[b"slow", b"quick"]]
    for row in range(6):
        np.testing.assert_array_equal(
            part.vectors[row], part.vectors[row % 2 if row < 4 else 5 - row]
        )


def part_of_files(tmp_path, encoder, count, monkeypatch, spoil=lambda path, raw: raw):
    """A part of files that all hold "same"; ``spoil`` sees what was read of each."""
    for k in range(count):
        (tmp_path / f"{k}.txt").write_text("same")
    read = Reader.read_file

    def reading(self, path, repeats=None):
        digest, raw = read(self, path, repeats)
        return digest, spoil(path, raw)

    monkeypatch.setattr(Reader, "read_file", reading)
    items = [Item(f"i{k}", f"{k}.txt", None) for k in range(count)]
    reader, told = Reader(modality="text", base=tmp_path, roots=[tmp_path], max_seconds=1), []
    with Preparation([items], reader, encoder, workers=1, ahead=4) as stream:
        part = encode_part(
            stream,
            count,
            encoder,
            batches=BatchSize(8),
            faults=Faults(encoded=True),
            finished=told.extend,
        )
    assert sorted(row.id for row in told) == sorted(part.statuses["id"])
    assert all(row.value is None and row.item is None for row in told)
    assert list(part.statuses["id"]) == [item.id for item in items]
    return part


@pytest.mark.parametrize(
    "reason",
    [
        "changed while it was read",
        "out of memory while decoding the picture",
        "unreadable file (Input/output error)",
    ],
)
def test_copies_do_not_inherit_a_failure_that_says_nothing_of_the_content(
    tmp_path, byte_histogram, histogram_of, monkeypatch, reason
):
    encoder = byte_histogram()

    def spoil(path, raw):
        return MediaError(reason) if path in ("0.txt", "1.txt") else raw

    # Where memory ran out twice, the content is taken to be too large.
    ok = [2, 3, 4] if "memory" not in reason else []
    part = part_of_files(tmp_path, encoder, 5, monkeypatch, spoil)
    assert [k for k, status in enumerate(part.statuses["status"]) if status == "ok"] == ok
    assert part.statuses["reason"].to_list()[:2] == [reason] * 2
    for row in ok:
        np.testing.assert_array_equal(part.vectors[row], histogram_of("same"))
    assert encoder.batches == ([[b"same"]] if ok else [])


def test_after_one_failure_for_want_of_memory_the_next_copy_serves_the_rest(
    tmp_path, byte_histogram, histogram_of, monkeypatch
):
    class Once(byte_histogram):
        calls = 0

        def encode(self, batch):
            self.calls += 1
            if self.calls == 1:
                raise MemoryError
            return super().encode(batch)

    encoder = Once()
    part = part_of_files(tmp_path, encoder, 4, monkeypatch)
    assert part.statuses["status"].to_list() == ["failed", "ok", "ok", "ok"]
    assert encoder.calls == 2
    np.testing.assert_array_equal(part.vectors[1:], [histogram_of("same")] * 3)


def test_many_copies_of_a_content_too_large_for_memory_do_not_end_the_run(
    tmp_path, byte_histogram, monkeypatch
):
    class Never(byte_histogram):
        calls = 0

        def encode(self, batch):
            self.calls += 1
            raise MemoryError

    encoder = Never()
    part = part_of_files(tmp_path, encoder, 100, monkeypatch)
    assert set(part.statuses["status"]) == {"failed"}
    assert encoder.calls == 2


def test_a_copy_that_vanished_fails_for_its_own_reason(
    tmp_path, byte_histogram, histogram_of, monkeypatch
):
    def spoil(path, raw):
        if path == "0.txt":
            return MediaError("changed while it was read")
        if path == "1.txt":
            (tmp_path / "1.txt").unlink(missing_ok=True)
        return raw

    part = part_of_files(tmp_path, byte_histogram(), 3, monkeypatch, spoil)
    assert part.statuses["reason"].to_list()[1:] == ["file not found", None]
    np.testing.assert_array_equal(part.vectors[2], histogram_of("same"))
