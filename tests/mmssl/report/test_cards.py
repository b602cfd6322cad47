import base64
import io

import pytest
from PIL import Image

from extract.errors import InputError
from extract.inspect.items import ItemSource
from mmssl.report.cards import PICTURE_PIXELS, TITLE_CHARACTERS, ItemCards


@pytest.fixture
def shop(tmp_path):
    """A good picture, a broken one, one outside of the folder, and an item without one."""
    folder = tmp_path / "shop"
    folder.mkdir()
    Image.new("RGB", (400, 200), (200, 30, 40)).save(folder / "good.png")
    Image.new("RGB", (40, 20)).save(tmp_path / "outside.png")
    (folder / "broken.png").write_bytes(b"not a picture at all")
    (folder / "items.csv").write_text(
        "item_id,image,text\na,good.png,A  red\u00a0thing\nb,broken.png,\nc,../outside.png,"
        + "word " * 60
        + "\nd,,\n"
    )
    return folder / "items.csv"


def test_pictures_are_small_and_what_cannot_be_shown_is_said(shop):
    cards = ItemCards(ItemSource(shop))
    found = cards.cards(["a", "b", "c", "d", "nobody"])
    picture = Image.open(io.BytesIO(base64.b64decode(found["a"].picture.partition(",")[2])))
    assert picture.size == (PICTURE_PIXELS, PICTURE_PIXELS // 2)
    assert found["a"].text == "A red thing"
    assert [found[name].picture for name in "bcd"] == [None, None, None]
    assert cards.problems.keys() == {"b", "c"}
    assert cards.problems["c"] == "outside the media roots"
    assert len(found["c"].text) <= TITLE_CHARACTERS
    assert cards.pictured(["d", "a", "nobody"]) == ["a"]


def test_a_media_root_opens_another_folder(shop, tmp_path):
    cards = ItemCards(ItemSource(shop, media_roots=(tmp_path,)))
    assert cards.cards(["c"])["c"].picture is not None


def test_a_folder_of_pictures_is_a_table(shop):
    cards = ItemCards(ItemSource(shop.parent))
    assert cards.cards(["good"])["good"].picture is not None


def test_without_a_table_items_are_their_ids(tmp_path):
    cards = ItemCards(None)
    assert not cards.any
    assert cards.cards(["a"])["a"].picture is None


def test_a_table_without_anything_to_show_is_refused(tmp_path):
    (tmp_path / "items.csv").write_text("item_id,price\na,3\n")
    with pytest.raises(InputError, match="no column of pictures, videos or texts"):
        ItemCards(ItemSource(tmp_path / "items.csv"))
