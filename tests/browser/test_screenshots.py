"""Pictures of the page for the guides, into the folder MMSSL_SCREENSHOTS."""

from pathlib import Path

import pytest
from PIL import Image

from tests.browser.conftest import DESKTOP, PHONE, SCREENSHOTS, settle

LARGEST = 300_000
SHOTS = {
    "user": ("?user={user}", DESKTOP, "light"),
    "user-dark": ("?user={user}", DESKTOP, "dark"),
    "user-phone": ("?user={user}", PHONE, "light"),
    "parts": ("?user={user}&parts=image&parts=text", DESKTOP, "light"),
    "item": ("?user={user}&item={first}", DESKTOP, "light"),
    "item-phone-dark": ("?user={user}&item={first}", PHONE, "dark"),
    "new-user": ("?view=new-user&history={first}", DESKTOP, "light"),
}


@pytest.mark.skipif(not SCREENSHOTS, reason="MMSSL_SCREENSHOTS names no folder")
@pytest.mark.parametrize("name", SHOTS)
def test_a_screenshot_is_written_and_small(visit, api, user, name):
    folder = Path(SCREENSHOTS)
    folder.mkdir(parents=True, exist_ok=True)
    query, size, scheme = SHOTS[name]
    (first,) = api("recommend", user=user, k=1)["items"]
    page = visit(query.format(user=user, first=first["item"]["id"]), size=size, scheme=scheme)
    shoot(page, folder / f"{name}.png")


@pytest.mark.skipif(not SCREENSHOTS, reason="MMSSL_SCREENSHOTS names no folder")
def test_a_screenshot_of_a_new_item(visit, item, picture):
    page = visit("?view=new-item")
    page.locator("#new-item-image").set_input_files(picture)
    page.locator("#new-item-text").fill(item["text"])
    page.get_by_role("button", name="Find its place").click()
    page.get_by_role("heading", name="Neighbours by image").wait_for()
    settle(page)
    shoot(page, Path(SCREENSHOTS) / "new-item.png")


def shoot(page, path):
    seen = "image => image.getBoundingClientRect().top < innerHeight"
    for picture in page.locator("img:visible").all():
        if picture.evaluate(seen):
            picture.evaluate("image => image.decode()")
    page.screenshot(path=path)
    if path.stat().st_size >= LARGEST:
        # A palette of 256 colours is a third of the size, and differs little on such pages.
        with Image.open(path) as picture:
            picture.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)
    assert path.stat().st_size < LARGEST
