import polars as pl

from mmssl.data.formats.item_tables import items_left_out, joined, media_by_id


def test_media_by_id_take_the_first_folder_and_the_first_suffix(tmp_path):
    for name in ("a/1.PNG", "a/1.jpg", "a/2.png", "b/2.jpg", "b/3.jpg", "b/.4.jpg", "b/5.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    folders = [tmp_path / "none", tmp_path / "a", tmp_path / "b"]
    assert media_by_id(folders, (".jpg", ".png")) == {
        "1": str(tmp_path.resolve() / "a" / "1.jpg"),
        "2": str(tmp_path.resolve() / "a" / "2.png"),
        "3": str(tmp_path.resolve() / "b" / "3.jpg"),
    }


def test_joined_texts_leave_out_what_is_not_there():
    frame = pl.DataFrame({"a": [" x ", None, " ", None], "b": ["y", "z", "w", None]})
    assert frame.select(joined("a", "b")).to_series().to_list() == ["x. y", "z", "w", None]


def test_of_many_columns_left_out_the_first_are_named():
    items = pl.DataFrame({"item_id": ["1"]} | {f"c{i}": ["x"] for i in range(10)} | {"d": [None]})
    assert items_left_out(items, holds=("c0",)) == [
        "columns of items left out: c1, c2, c3, c4, c5, c6, c7, c8 and 1 more"
    ]
    assert items_left_out(items.select("item_id"), holds=()) == []
    assert items_left_out(None, holds=()) == []
