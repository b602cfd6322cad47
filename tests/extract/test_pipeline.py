import numpy as np
import pytest
import torch

from extract import pipeline
from extract.catalog import Item
from extract.errors import InputError
from extract.media.reading import Reader
from extract.pipeline import Faults, encode_part
from extract.preparation import Preparation, prepare

WORDS = ["a", "bb" * 50, "ccc", "", "d" * 30, None, "ee", "é" * 7, "f" * 99, "gg g"]


@pytest.fixture
def run_part(tmp_path):
    def run(texts, encoder, *, batch_size=3, workers=2, faults=None, finished=lambda row: None):
        reader = Reader(modality="text", base=tmp_path, roots=[tmp_path], max_seconds=1)
        items = [Item(f"i{k}", None, text) for k, text in enumerate(texts)]
        stream = Preparation(
            items,
            lambda item: prepare(item, reader, encoder),
            workers=workers,
            task_rows=1,
            ahead=4,
        )
        faults = faults or Faults(encoded=False)
        with stream:
            return encode_part(
                stream,
                len(texts),
                encoder,
                batch_size=batch_size,
                faults=faults,
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


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_running_out_of_memory_says_what_to_lower(run_part, byte_histogram, error):
    encoder = failing_on(byte_histogram, b"b", error)
    with pytest.raises(InputError, match=r"batch of 3; choose a smaller --batch-size"):
        run_part(["a", "b", "c"], encoder)


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
        run_part(["a"] * 500, Broken(), batch_size=batch_size)
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
    part = run_part(WORDS, encoder, finished=lambda row: seen.append((row.id, row.status)))
    assert sorted(seen) == list(part.statuses.select("id", "status").iter_rows())


def test_prepared_values_are_let_go_once_encoded(run_part, byte_histogram):
    rows = []
    run_part(WORDS, byte_histogram(), finished=rows.append)
    assert len(rows) == 10
    assert all(row.value is None for row in rows)


def test_a_part_that_no_memory_can_hold_is_one_line(byte_histogram):
    with pytest.raises(InputError, match=r"no memory for .* vectors of 256 .* --rows-per-part"):
        encode_part(
            iter(()), 10**15, byte_histogram(), batch_size=1, faults=Faults(False), finished=print
        )
