"""Every setting that a page shows is one that some model has, with a value that it takes."""

import fnmatch
import re
from collections.abc import Iterator

import pytest
from pydantic import ValidationError

from mmssl.config import TrainingConfig
from mmssl.models import MODELS, config_class, preset_of
from mmssl.settings import apply_setting, setting_names, shipped
from tests.doc_pages import ROOT, pages
from tests.docs_static.test_commands import behind_program, lines_of

PAGES = pages()
CLASSES = {name: config_class(name, "test") for name in MODELS}
KEYS = {name: set(setting_names(kind)) for name, kind in CLASSES.items()}
EVERY_KEY = set().union(*KEYS.values())
SECTIONS = {key.split(".")[0] for key in EVERY_KEY if "." in key}
FILES = ("safetensors", "parquet", "json", "jsonl", "csv", "yaml", "md", "npy", "py", "html")


def problem(key: str, value: str) -> str | None:
    """Why no model takes the setting; None where one does."""
    having = [name for name, keys in KEYS.items() if key in keys]
    if not having:
        return f"no model has the setting {key}"
    said = ""
    for name in having:
        values: dict = {"model": name} if key != "model" else {}
        apply_setting(values, f"{key}={value}")
        if key == "model":
            return None if values["model"] in MODELS else f"no model {value}"
        try:
            CLASSES[name].model_validate(values)
        except ValidationError as error:
            # What other settings it does not go with is no matter of the value.
            own = [e for e in error.errors() if list(map(str, e["loc"]))[: len(key.split("."))]
                   == key.split(".")]  # fmt: skip
            if own:
                said = own[0]["msg"]
                continue
        return None
    return f"{key}={value}: {said}"


def shown() -> Iterator[tuple[str, str, str]]:
    """Where, key and value of every setting within a line."""
    for page in PAGES:
        for span in page.spans:
            where = f"{page.name}:{span.line}: `{span.text}`"
            for word in span.text.split():
                found = re.fullmatch(r"([a-z_]+(?:\.[a-z_0-9]+)*)=(\S+)", word)
                if found and ("." in found[1] or found[1] in EVERY_KEY):
                    yield where, found[1], found[2]
            if found := re.fullmatch(r"([a-z_]+(?:\.[a-z_]+)*): (.+)", span.text):
                key, value = found[1], found[2]
                for full in sorted(EVERY_KEY) if "." not in key else [key]:
                    if full == key or full.endswith(f".{key}"):
                        yield where, full, value


def test_a_setting_that_a_line_shows_exists_and_takes_the_value():
    seen = 0
    for where, key, value in shown():
        if value.isupper() or value == "..." or key == "key.sub":
            continue
        seen += 1
        assert problem(key, value) is None, f"{where}: {problem(key, value)}"
    assert seen > 30


def test_a_key_that_a_line_names_exists():
    seen = 0
    for page in PAGES:
        for span in page.spans:
            if re.fullmatch(r"[a-z_]+\.[a-z_0-9*]+", span.text):
                section, _, last = span.text.partition(".")
                if section not in SECTIONS or last in FILES:
                    continue
                seen += 1
                found = fnmatch.filter(EVERY_KEY, span.text)
                assert found, f"{page.name}:{span.line}: no setting {span.text}"
    assert seen > 15


def trainings() -> list:
    return [
        pytest.param(words, id=f"{page.name}:{block.line}: {' '.join(words)[:60]}")
        for page in PAGES
        for block in page.blocks
        if block.language == "bash"
        for line in lines_of(block.text)
        if (words := behind_program(line)) and words[0] == "train"
    ]


@pytest.mark.parametrize("words", trainings())
def test_the_settings_of_a_training_go_together(words):
    settings = [
        word for n, word in enumerate(words)
        if (n and "=" in word and not word.startswith("-") and not words[n - 1].startswith("--"))
        or (n and re.match(r"[a-z_.]+=", word))
    ]  # fmt: skip
    named = words[words.index("--config") + 1] if "--config" in words else None
    path = ROOT / named if named else shipped(preset_of(settings))
    assert TrainingConfig.load(path, list(dict.fromkeys(settings)))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("backbone.relation_rates", "0"),
        ("relations.graph", "unions"),
        ("optimiser.epochs", "0"),
        ("model", "lightgnc"),
    ],
)
def test_what_no_model_takes_is_found(key, value):
    assert problem(key, value) is not None


def test_the_reference_has_a_heading_for_every_model():
    reference = next(page for page in PAGES if page.name == "docs/reference/configuration.md")
    assert {h.removeprefix("Model ") for h in reference.headings if "Model " in h} == set(MODELS)
