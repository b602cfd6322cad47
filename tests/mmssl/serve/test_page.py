"""The page's files: nothing inline, nothing from elsewhere, nothing missing."""

import re
from html.parser import HTMLParser
from urllib.parse import urlsplit

import pytest

from mmssl.serve.app import PAGE

STATIC = sorted((PAGE / "static").iterdir())
SCRIPTS = [path for path in STATIC if path.suffix == ".js"]
IMPORT = re.compile(r'^import (?:[^;]*? from )?"([^"]+)";', re.MULTILINE)


class Elements(HTMLParser):
    """Every element's name and attributes, and the text of scripts and styles."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.inline = ""

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data):
        if self.found and self.found[-1][0] in ("script", "style"):
            self.inline += data.strip()


@pytest.fixture(scope="module")
def elements():
    parser = Elements()
    parser.feed((PAGE / "index.html").read_text(encoding="utf-8"))
    return parser


def test_no_script_or_style_stands_in_the_page(elements):
    assert elements.inline == ""
    names = {tag for tag, _ in elements.found}
    assert {"main", "script", "dialog"} <= names
    assert "style" not in names
    for tag, attributes in elements.found:
        assert not [name for name in attributes if name.startswith("on") or name == "style"], tag


def test_what_the_page_loads_is_its_own_and_there(elements):
    loaded = [
        attributes.get("src") or attributes.get("href")
        for tag, attributes in elements.found
        if tag in ("script", "link", "img", "audio")
    ]
    assert len(loaded) >= 4
    for address in loaded:
        assert urlsplit(address)[:2] == ("", "")
        assert (PAGE / address).is_file(), address


def test_ids_are_unique_and_what_refers_to_one_finds_it(elements):
    ids = [attributes["id"] for _, attributes in elements.found if "id" in attributes]
    assert len(ids) == len(set(ids))
    for tag, attributes in elements.found:
        for name in ("for", "aria-labelledby", "aria-controls"):
            assert set((attributes.get(name) or "").split()) <= set(ids), (tag, attributes)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_module_imports_names_that_its_neighbours_export(script):
    text = script.read_text(encoding="utf-8")
    for address in IMPORT.findall(text):
        neighbour = (script.parent / address).read_text(encoding="utf-8")
        (names,) = re.findall(rf'import {{([^}}]*)}} from "{re.escape(address)}"', text)
        for name in filter(None, map(str.strip, names.split(","))):
            assert re.search(rf"export (async )?(function|const|class) {name}\b", neighbour), name
            # Once in the import, and at least once in use.
            assert len(re.findall(rf"\b{name}\b", text)) > 1, name


@pytest.mark.parametrize("path", STATIC, ids=lambda path: path.name)
def test_data_is_never_read_as_markup_and_nothing_is_asked_elsewhere(path):
    text = path.read_text(encoding="utf-8")
    for forbidden in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
        assert forbidden not in text
    addresses = set(re.findall(r"(?:https?:)?//[\w.-]+\.[a-z]+[^\s\"']*", text))
    assert addresses <= {"http://www.w3.org/2000/svg"}  # the name of a format, not asked for


def test_every_name_that_the_scripts_look_up_is_in_the_page(elements):
    ids = {attributes["id"] for _, attributes in elements.found if "id" in attributes}
    for script in SCRIPTS:
        for name in re.findall(r'byId\("([^"]+)"\)', script.read_text(encoding="utf-8")):
            assert name in ids, (script.name, name)
