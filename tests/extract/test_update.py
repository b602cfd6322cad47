"""A store and its item table over time: items are added, changed, removed, mended."""

import numpy as np
import pytest
from PIL import Image

import extract
from extract.extraction import run


@pytest.fixture
def begin(tmp_path, byte_histogram):
    """Write texts as the item table and run; the summary and the texts that were encoded."""

    def call(texts: dict[str, str | None], **options):
        lines = "".join(f'{name},"{text or ""}"\n' for name, text in texts.items())
        (tmp_path / "items.csv").write_text("id,text\n" + lines)
        encoder = byte_histogram()
        values = {"items": tmp_path / "items.csv", "modality": "text", "out": tmp_path / "store"}
        config = extract.ExtractionConfig.parse(values | {"rows_per_part": 3} | options)
        summary = run(config, encoder=encoder)
        return summary, sorted(data.decode() for batch in encoder.batches for data in batch)

    return call


def stored(tmp_path) -> dict[str, tuple[str, float]]:
    """Id -> status and the length of its text, as the byte histogram has it."""
    store = extract.FeatureStore.open(tmp_path / "store")
    loaded = store.load()
    sizes = np.nan_to_num(loaded.vectors.sum(axis=1))
    return dict(zip(loaded.ids, zip(store.statuses()["status"], sizes, strict=True), strict=True))


TEXTS: dict[str, str | None] = {name: name * 3 for name in "abcde"}


def test_new_items_are_added_and_nothing_else_is_encoded(begin, tmp_path):
    begin(TEXTS)
    first = {file.name: file.read_bytes() for file in (tmp_path / "store").iterdir()}
    summary, encoded = begin({"new": "first"} | TEXTS | {"newer": "last"})
    assert encoded == ["first", "last"]
    assert (summary.added, summary.items, summary.processed) == (2, 7, 2)
    assert "new in the table: 2" in str(summary)
    store = extract.FeatureStore.open(tmp_path / "store")
    assert store.ids() == [*"abcde", "new", "newer"]
    assert stored(tmp_path)["new"] == ("ok", 5)
    for name, data in first.items():
        assert (tmp_path / "store" / name).read_bytes() == data
    assert begin({"new": "first"} | TEXTS | {"newer": "last"})[0].added == 0


def test_the_tables_order_and_what_left_it_change_nothing(begin, tmp_path):
    begin(TEXTS)
    turned = dict(reversed(TEXTS.items()))
    del turned["b"], turned["d"]
    summary, encoded = begin(turned)
    assert (encoded, summary.removed, summary.removed_examples) == ([], 2, ["b", "d"])
    assert "not in the table any more: 2 (b, d); --update empties their rows" in str(summary)
    assert stored(tmp_path)["b"] == ("ok", 3)
    summary, encoded = begin(turned, update=True)
    assert (summary.changed, summary.processed) == (2, 5)
    assert "changed or gone: 2; their parts were encoded anew" in str(summary)
    assert stored(tmp_path) == {
        n: ("missing" if n in "bd" else "ok", 0 if n in "bd" else 3) for n in "abcde"
    }
    reasons = extract.FeatureStore.open(tmp_path / "store").statuses()["reason"].to_list()
    assert reasons[1] == reasons[3] == "not in the item table any more"
    assert begin(turned, update=True)[0].processed == 0
    # And it may come back.
    assert begin(TEXTS, update=True)[0].changed == 2
    assert stored(tmp_path)["b"] == ("ok", 3)


def test_only_the_part_of_a_changed_item_is_encoded_anew(begin, tmp_path):
    begin(TEXTS)
    changed = TEXTS | {"e": "other"}
    summary, encoded = begin(changed)
    assert (encoded, stored(tmp_path)["e"]) == ([], ("ok", 3))
    summary, encoded = begin(changed, update=True)
    assert encoded == ["ddd", "other"]
    assert (summary.changed, summary.processed, stored(tmp_path)["e"]) == (1, 2, ("ok", 5))
    summary, encoded = begin(changed, update=True)
    assert encoded == []
    assert "already complete: nothing was encoded\n" in str(summary)


def test_a_text_that_came_or_went_is_a_change(begin, tmp_path):
    begin(TEXTS | {"a": None})
    assert stored(tmp_path)["a"] == ("missing", 0)
    summary, encoded = begin(TEXTS, update=True)
    assert (encoded, summary.changed) == (["aaa", "bbb", "ccc"], 1)
    begin(TEXTS | {"a": None}, update=True)
    assert stored(tmp_path)["a"] == ("missing", 0)


def test_a_run_that_was_stopped_takes_up_a_table_that_changed_meanwhile(begin, tmp_path):
    begin(TEXTS)
    (tmp_path / "store/part-1.json").unlink()
    later = {"new": "x", "e": "eee", "d": "other", "a": "aaa", "c": "ccc"}
    summary, encoded = begin(later)
    assert encoded == ["eee", "other", "x"]
    assert (summary.added, summary.removed, summary.removed_examples) == (1, 1, ["b"])
    assert list(stored(tmp_path)) == [*"abcde", "new"]
    assert stored(tmp_path)["d"] == ("ok", 5)


def test_a_file_that_was_mended_is_encoded_and_a_broken_one_not_tried_again(tmp_path, mean_colour):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for name in ("a", "b", "c"):
        Image.new("RGB", (4, 4), "red").save(pictures / f"{name}.png")
    (pictures / "b.png").write_bytes(b"no picture")
    config = extract.ExtractionConfig(items=pictures, modality="image", out=tmp_path / "store")
    assert run(config, encoder=mean_colour()).failed == 1
    update = config.model_copy(update={"update": True})
    assert run(update, encoder=mean_colour()).processed == 0
    Image.new("RGB", (4, 4), "blue").save(pictures / "b.png")
    summary = run(update, encoder=mean_colour())
    assert (summary.ok, summary.changed, summary.failed) == (3, 1, 0)


def test_update_and_overwrite_exclude_each_other(begin):
    with pytest.raises(extract.InputError, match="give --update or --overwrite, not both"):
        begin(TEXTS, update=True, overwrite=True)


def test_an_item_for_which_there_was_no_memory_is_tried_again(tmp_path, byte_histogram):
    config = extract.ExtractionConfig(
        items=tmp_path / "items.csv", modality="text", out=tmp_path / "store", rows_per_part=3
    )
    (tmp_path / "items.csv").write_text("id,text\na,aaa\nb,bbb\n")

    class Short(byte_histogram):
        def encode(self, batch):
            if b"bbb" in batch:
                raise MemoryError
            return super().encode(batch)

    Short.__module__, Short.__qualname__ = byte_histogram.__module__, byte_histogram.__qualname__
    assert run(config, encoder=Short()).failed == 1
    update = config.model_copy(update={"update": True})
    summary = run(update, encoder=byte_histogram())
    assert (summary.changed, summary.failed, summary.ok) == (1, 0, 2)
    assert run(update, encoder=byte_histogram()).processed == 0


@pytest.fixture
def shelf(tmp_path, mean_colour):
    """Pictures a to d, two to a part, their table, and an update of their store."""
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for name, colour in zip("abcd", ("red", "lime", "blue", "white"), strict=True):
        Image.new("RGB", (4, 4), colour).save(pictures / f"{name}.png")
    table = tmp_path / "items.csv"
    table.write_text("item_id,image\n" + "".join(f"{n},pictures/{n}.png\n" for n in "abcd"))
    config = extract.ExtractionConfig(
        items=table, modality="image", out=tmp_path / "store", rows_per_part=2
    )
    assert run(config, encoder=mean_colour()).ok == 4
    again = config.model_copy(update={"update": True})
    return pictures, lambda: run(again, encoder=mean_colour())


def files_of(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_pictures_whose_folder_is_away_keep_their_vectors(shelf, tmp_path, caplog):
    pictures, update = shelf
    before = files_of(tmp_path / "store")
    pictures.rename(tmp_path / "away")
    summary = update()
    assert (summary.ok, summary.failed, summary.changed, summary.processed) == (4, 0, 0, 0)
    assert files_of(tmp_path / "store") == before
    (said,) = caplog.messages
    assert said.startswith("4 items cannot be read now (a: file not found) and keep their vectors;")
    caplog.clear()
    (tmp_path / "away").rename(pictures)
    assert update().processed == 0
    assert not caplog.messages


@pytest.mark.parametrize("error", [PermissionError(13, "denied"), OSError(5, "I/O error")])
@pytest.mark.parametrize("when", ["opened", "read"])
def test_a_file_that_is_forbidden_or_fails_keeps_its_vector(shelf, monkeypatch, error, when):
    _, update = shelf

    def failing(*_):
        raise error

    if when == "opened":
        monkeypatch.setattr("extract.media.files.os.open", failing)
    else:
        monkeypatch.setattr("extract.media.reading._sha256", failing)
    summary = update()
    assert (summary.ok, summary.changed) == (4, 0)


def test_what_changed_beside_an_unreadable_file_waits_and_what_is_elsewhere_does_not(
    shelf, tmp_path, caplog
):
    pictures, update = shelf
    (pictures / "a.png").unlink()
    Image.new("RGB", (4, 4), "black").save(pictures / "b.png")
    Image.new("RGB", (4, 4), "black").save(pictures / "d.png")
    first = extract.FeatureStore.open(tmp_path / "store").load().vectors
    summary = update()
    assert (summary.changed, summary.processed, summary.ok) == (1, 2, 4)
    vectors = extract.FeatureStore.open(tmp_path / "store").load().vectors
    np.testing.assert_array_equal(vectors[:3], first[:3])
    assert not np.array_equal(vectors[3], first[3])
    assert "1 changed items of the same parts wait for them" in caplog.messages[0]
    # Its cell emptied, the file is missed no more.
    table = (tmp_path / "items.csv").read_text()
    (tmp_path / "items.csv").write_text(table.replace("pictures/a.png", ""))
    summary = update()
    assert (summary.changed, summary.ok, summary.missing) == (2, 3, 1)
    vectors = extract.FeatureStore.open(tmp_path / "store").load().vectors
    assert np.isnan(vectors[0]).all()
    np.testing.assert_array_equal(vectors[1], vectors[3])


def test_a_file_that_is_there_and_empty_has_changed(shelf):
    pictures, update = shelf
    (pictures / "a.png").write_bytes(b"")
    summary = update()
    assert (summary.changed, summary.ok, summary.reasons) == (1, 3, {"empty file": 1})
