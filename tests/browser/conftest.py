"""A real `serve` on a small model that is trained here, and Debian's Chromium to look at it.

`make browser` runs these; `make test` does not. MMSSL_SERVER=URL drives a server that runs already,
CHROMIUM names another browser's program.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from playwright.sync_api import expect, sync_playwright

from extract.tables import read_table, write_table

ROOT = Path(__file__).parents[2]
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or "/usr/bin/chromium"
DESKTOP, PHONE = (1280, 900), (390, 844)
SCREENSHOTS = os.environ.get("MMSSL_SCREENSHOTS")
# What a title may hold: were it read as markup, an element would appear.
MARKUP = '<img src="nowhere" onerror="document.title=1"><b>bold</b> & "quoted"'
# The first use of an encoder loads it, which takes a busy machine its time.
expect.set_options(timeout=60_000)
TRAINED = ("--sample", "drawn", "--items", "60", "--users", "80", "optimiser.epochs=3")


def command(*arguments, **options):
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    return subprocess.Popen([sys.executable, *arguments], cwd=ROOT, env=environment, **options)


@pytest.fixture(scope="session")
def items_table(tmp_path_factory):
    """A project with a trained model; its item table again, with markup in the last text."""
    folder = tmp_path_factory.mktemp("project") / "drawn"
    made = command("-m", "examples.quickstart", "--project", str(folder), *TRAINED)
    assert made.wait() == 0
    table = read_table(folder / "items.csv")
    last = pl.int_range(pl.len()) == pl.len() - 1
    shown = folder / "shown.csv"
    write_table(
        table.with_columns(text=pl.when(last).then(pl.lit(MARKUP)).otherwise("text")), shown
    )
    return shown


@pytest.fixture(scope="session")
def address(request):
    """Where the server answers."""
    if named := os.environ.get("MMSSL_SERVER"):
        yield named.rstrip("/")
        return
    items = request.getfixturevalue("items_table")
    project = ("--project", str(items.parent), "--items", str(items))
    server = command("cli.py", "serve", *project, "--port", "0", stderr=subprocess.PIPE, text=True)
    try:
        told = next((line for line in server.stderr if line.startswith("answers at ")), None)
        assert told, "the server did not start"
        yield told.split()[-1]
    finally:
        server.terminate()
        server.communicate(timeout=60)


@pytest.fixture(scope="session")
def browser():
    if not Path(CHROMIUM).exists():
        pytest.skip(f"no Chromium at {CHROMIUM}; name one with CHROMIUM=")
    with sync_playwright() as playwright:
        # Its sandbox needs rights that a container's root does not have.
        yield playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])


@pytest.fixture
def visit(browser, address):
    """Open the page at a query, e.g. ``?user=u``; afterwards nothing strange may have happened."""
    contexts, faults = [], []

    def watch(message):
        # An error that the server answers is the page's to show; the browser logs it in any case.
        if message.type in ("error", "warning") and "Failed to load resource" not in message.text:
            faults.append(message.text)

    def asked(request):
        if not request.url.startswith((address + "/", "blob:", "data:")):
            faults.append(f"asked for {request.url}")

    def open_page(query="", size=DESKTOP, scheme="light"):
        width, height = size
        context = browser.new_context(
            base_url=address,
            viewport={"width": width, "height": height},
            color_scheme=scheme,
            reduced_motion="reduce",
            is_mobile=size != DESKTOP,
            has_touch=size != DESKTOP,
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on("console", watch)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("request", asked)
        page.goto(f"/{query}")
        settle(page)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not faults


def settle(page):
    """Wait until nothing loads any more."""
    page.wait_for_load_state("networkidle")
    expect(page.locator("[aria-busy=true]")).to_have_count(0)


@pytest.fixture
def api(browser, address):
    """GET of the API, as the page does it."""
    context = browser.new_context(base_url=address)

    def get(path, **parameters):
        answer = context.request.get(f"/api/{path}", params=parameters)
        assert answer.ok, answer.text()
        return answer.json()

    yield get
    context.close()


@pytest.fixture
def user(api):
    """A user with a history."""
    return api("users", query="7", limit=1)["users"][0]


@pytest.fixture
def item(api):
    """An item with a picture, a text and a sound."""
    items = api("items", query="", limit=20)["items"]
    return next(one for one in items if one["image"] and one["text"] and one["audio"])


@pytest.fixture
def picture(browser, address, item, tmp_path):
    """The picture of ``item`` as a file to upload."""
    context = browser.new_context(base_url=address)
    path = tmp_path / "picture.jpg"
    path.write_bytes(context.request.get(item["image"]).body())
    context.close()
    return path


def ids(page, selector):
    """The ids of the cards in a list, in order."""
    return page.locator(f"{selector} [data-id]").evaluate_all("all => all.map(e => e.dataset.id)")
