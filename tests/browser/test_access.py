"""Usable by keyboard, by screen readers, on a phone, in the dark."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from tests.browser.conftest import DESKTOP, PHONE, settle

STATES = {
    "start": "",
    "user": "?user={user}",
    "parts": "?user={user}&parts=image",
    "panel": "?user={user}&item={item}",
    "error": "?user=nobody",
    "items": "?view=items",
    "nothing found": "?view=items&q=8264",
    "picture": "?view=items&by=picture",
    "new user": "?view=new-user",
    "new user with history": "?view=new-user&history={item}",
    "new item": "?view=new-item",
}


def query(state, user, item):
    return STATES[state].format(user=user, item=item["id"])


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("state", STATES)
def test_axe_finds_nothing_serious(visit, user, item, state, scheme):
    page = visit(query(state, user, item), scheme=scheme)
    found = Axe().run(page).response["violations"]
    grave = [one for one in found if one["impact"] in ("serious", "critical")]
    assert [(one["id"], one["nodes"][0]["html"]) for one in grave] == []


@pytest.mark.parametrize("state", STATES)
def test_a_page_of_320_pixels_needs_no_sideways_scrolling(visit, user, item, state):
    # Narrower than phones are: a window of 1280 pixels enlarged four times (WCAG 2.2, 1.4.10).
    page = visit(query(state, user, item), size=(320, 640))
    width = "document.documentElement.scrollWidth"
    assert page.evaluate(width) <= 320
    body = page.locator("#item-body")
    assert body.evaluate("body => body.scrollWidth <= body.clientWidth")
    # A finger needs 24 pixels (WCAG 2.2, 2.5.8).
    for control in page.locator("button:visible, nav a:visible, input:visible").all():
        box = control.bounding_box()
        assert min(box["width"], box["height"]) >= 24, control.evaluate("e => e.outerHTML")


def test_dark_and_light_differ_and_follow_the_system(visit):
    ink = "getComputedStyle(document.body).backgroundColor"
    light, dark = (visit(scheme=scheme).evaluate(ink) for scheme in ("light", "dark"))
    assert light != dark


def test_nothing_moves_where_less_motion_is_wanted(visit, api, user):
    page = visit(f"?user={user}")
    page.get_by_role("checkbox").first.uncheck()
    settle(page)
    assert page.evaluate("document.getAnimations().length") == 0


def tab_to(page, description, limit=60):
    """Press Tab until the focused element is the one wanted; it must show that it is."""
    for _ in range(limit):
        page.keyboard.press("Tab")
        if page.evaluate(f"document.activeElement.matches({description!r})"):
            return
    pytest.fail(f"Tab does not reach {description}")


def test_the_keyboard_alone_leads_from_the_skip_link_to_a_neighbour_and_back(visit, user):
    page = visit()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    tab_to(page, "#user", limit=2)
    page.keyboard.type(user)
    expect(page.get_by_role("option").first).to_be_visible()
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("option").first).to_have_attribute("aria-selected", "true")
    page.keyboard.press("Enter")
    expect(page.get_by_role("option")).to_have_count(0)
    settle(page)
    tab_to(page, "[name=parts]")
    page.keyboard.press("Space")
    settle(page)
    assert "parts=" in page.url
    tab_to(page, "#recommended .open")
    page.keyboard.press("Enter")
    panel = page.get_by_role("dialog")
    expect(panel).to_be_visible()
    settle(page)
    tab_to(page, "[role=tab]")
    tab = panel.get_by_role("tab", selected=True)
    chosen = tab.inner_text()
    page.keyboard.press("ArrowRight")
    assert tab.inner_text() != chosen
    expect(tab).to_be_focused()
    # The focus stays in the panel however often it moves on.
    for _ in range(50):
        page.keyboard.press("Tab")
        assert page.evaluate(
            "document.activeElement === document.body"
            " || Boolean(document.activeElement.closest('dialog'))"
        )
    page.keyboard.press("Escape")
    expect(panel).to_have_count(0)
    assert page.evaluate("document.activeElement.matches('#recommended .open')")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_what_is_focused_by_the_keyboard_has_an_outline(visit, user, scheme):
    page = visit(f"?user={user}", scheme=scheme)
    for _ in range(25):
        page.keyboard.press("Tab")
        width = page.evaluate(
            """() => {
              const at = document.activeElement;
              const ring = [getComputedStyle(at), getComputedStyle(at, '::after')];
              // A switch is an unseen box; the words after it bear the ring.
              if (at.nextElementSibling) ring.push(getComputedStyle(at.nextElementSibling));
              const width = one => one.outlineStyle === 'none' ? 0 : parseFloat(one.outlineWidth);
              return Math.max(...ring.map(width));
            }"""
        )
        assert width >= 2, page.evaluate("document.activeElement.outerHTML")


def test_one_heading_names_the_view_and_landmarks_frame_it(visit):
    for size in (DESKTOP, PHONE):
        page = visit("?view=items", size=size)
        expect(page.get_by_role("heading", level=1)).to_have_text("Search the items")
        for role in ("banner", "navigation", "main", "contentinfo", "search"):
            expect(page.get_by_role(role)).to_have_count(1)
        current = page.get_by_role("navigation").locator("[aria-current=page]")
        expect(current).to_have_text("Items")
        assert page.title().startswith("Search the items")
