"""A user's view: choosing one, the list, the parts of the model, the address."""

import re
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import ids, settle


def asked(page):
    return parse_qs(urlsplit(page.url).query)


def test_typing_a_part_of_an_id_offers_users_and_choosing_one_shows_the_api_s_list(
    visit, api, user
):
    page = visit()
    field = page.get_by_role("combobox", name="User")
    field.press_sequentially(user[1:])
    option = page.get_by_role("option", name=user, exact=True)
    expect(option).to_be_visible()
    expect(field).to_have_attribute("aria-expanded", "true")
    option.click()
    settle(page)
    assert asked(page)["user"] == [user]
    assert ids(page, "#recommended") == [
        one["item"]["id"] for one in api("recommend", user=user, k=20)["items"]
    ]
    assert ids(page, "#history") == [one["id"] for one in api("history", user=user)["items"]]
    first = api("recommend", user=user, k=1)["items"][0]
    expect(page.locator("#recommended li").first).to_contain_text(f"{first['score']:.3f}")
    expect(page.get_by_role("status")).to_contain_text(user)


def test_every_picture_is_shown_and_has_an_alternative(visit, user):
    page = visit(f"?user={user}")
    pictures = page.locator("#history img, #recommended img")
    assert pictures.count() > 0
    for picture in pictures.all():
        picture.scroll_into_view_if_needed()
        # `decode` waits for the picture and fails where it is none.
        assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") > 0
        assert picture.get_attribute("alt").strip() != ""


def test_a_part_that_is_switched_off_changes_the_list_and_says_how(visit, api, user):
    page = visit(f"?user={user}")
    parts = api("model")["parts"]
    before = ids(page, "#recommended")
    box = page.get_by_role("checkbox", name=parts[0], exact=False)
    box.uncheck()
    settle(page)
    assert asked(page)["parts"] == parts[1:]
    after = ids(page, "#recommended")
    answer = api("recommend", user=user, k=20, parts=parts[1])
    assert after != before
    ranks = {one["item"]["id"]: one["rank"] for one in api("recommend", user=user, k=100)["items"]}
    for rank, (id_, card) in enumerate(
        zip(after, page.locator("#recommended li").all(), strict=True), start=1
    ):
        mark = card.locator(".mark")
        if id_ not in ranks:
            expect(mark).to_have_text("New")
        elif ranks[id_] == rank:
            expect(mark).to_have_count(0)
        else:
            way = "up" if ranks[id_] > rank else "down"
            expect(mark).to_contain_text(f"{way} {abs(ranks[id_] - rank)}, from place {ranks[id_]}")
    # One part alone, from the address, is the list that the API gives for it.
    page.goto(f"/?user={quote(user)}&parts={quote(parts[1])}")
    settle(page)
    assert ids(page, "#recommended") == [one["item"]["id"] for one in answer["items"]]
    expect(page.get_by_role("checkbox", name=parts[1], exact=False)).to_be_checked()
    expect(box).not_to_be_checked()


def test_the_last_part_cannot_be_switched_off(visit, api, user):
    part = api("model")["parts"][0]
    page = visit(f"?user={user}&parts={quote(part)}")
    box = page.get_by_role("checkbox", name=part, exact=False)
    box.click()
    expect(page.get_by_role("alert")).to_contain_text("At least one part")
    expect(box).to_be_checked()


def test_going_back_undoes_the_last_choice(visit, api, user):
    other = next(one for one in api("users", query="", limit=5)["users"] if one != user)
    page = visit(f"?user={user}")
    field = page.get_by_role("combobox", name="User")
    field.fill(other)
    field.press("Enter")
    settle(page)
    expect(page.get_by_role("heading", name=f"History of {other}")).to_be_visible()
    page.go_back()
    settle(page)
    expect(page.get_by_role("heading", name=f"History of {user}")).to_be_visible()
    expect(field).to_have_value(user)
    page.go_forward()
    settle(page)
    expect(field).to_have_value(other)


@pytest.mark.parametrize("name", ["nobody", "<b>&?#%", "ünï/.."])
def test_an_unknown_user_is_an_error_in_the_server_s_words(visit, name):
    page = visit(f"?user={quote(name, safe='')}")
    expect(page.get_by_role("alert").locator("p")).to_contain_text(name)
    expect(page.get_by_role("combobox", name="User")).to_have_value(name)
    expect(page.locator("#recommended li")).to_have_count(0)
    page.locator("nav").get_by_role("link", name="Items").click()
    expect(page.get_by_role("alert").locator("p")).to_have_count(0)


def test_the_foot_tells_the_model_and_its_validation_beside_popularity(visit, api):
    page = visit()
    model = api("model")
    about = page.get_by_role("contentinfo")
    expect(about).to_contain_text(model["name"])
    expect(about).to_contain_text("no probability")
    about.get_by_text("All figures").click()
    table = about.get_by_role("table", name="All validation figures")
    assert model["metrics"]
    for name, value in model["metrics"].items():
        row = table.get_by_role("row", name=re.compile(f"^{name} "))
        expect(row).to_contain_text(f"{value:.4f}")
        expect(row).to_contain_text(f"{model['popularity'][name]:.4f}")
