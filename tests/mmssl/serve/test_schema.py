"""The API against its own OpenAPI document, with values that it allows and that it does not."""

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode, checks
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

CHECKS = [
    checks.not_a_server_error,
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
]
OPERATIONS = [
    *("GET /api/model", "GET /api/users", "GET /api/history", "GET /api/recommend"),
    *("GET /api/items", "GET /api/item", "GET /api/similar", "GET /api/explain"),
    *("GET /media/thumbnail", "GET /media/audio", "GET /health/live", "GET /health/ready"),
    *("POST /api/search",),
]
NOTHING_ASKED = ("GET /api/model", "GET /health/live", "GET /health/ready")
KNOWN = {"user": "u2", "item": "plain", "id": "a/b c", "space": "audio", "parts": ["image"]}

quick = settings(
    max_examples=20, suppress_health_check=list(HealthCheck), derandomize=True, deadline=None
)


@pytest.fixture
def document(client_of):
    app = client_of(allowed_hosts=("testserver",)).app
    return schemathesis.openapi.from_asgi("/openapi.json", app)


def operations(document):
    return {found.ok().label: found.ok() for found in document.get_all_operations()}


def test_the_document_holds_these_operations_and_no_others(document):
    assert sorted(operations(document)) == sorted(OPERATIONS)


@pytest.mark.parametrize("label", OPERATIONS)
def test_what_the_document_allows_is_answered_as_it_says(document, label):
    @given(
        case=operations(document)[label].as_strategy(generation_mode=GenerationMode.POSITIVE),
        known=st.booleans(),
    )
    @quick
    def answers(case, known):
        if known:  # no draw would ever hit an id
            case.query = {**case.query, **{n: KNOWN[n] for n in case.query if n in KNOWN}}
        case.call_and_validate(checks=CHECKS)

    answers()


@pytest.mark.parametrize("label", [label for label in OPERATIONS if label not in NOTHING_ASKED])
def test_what_the_document_forbids_is_refused_as_it_says(document, label):
    @given(case=operations(document)[label].as_strategy(generation_mode=GenerationMode.NEGATIVE))
    @quick
    def answers(case):
        case.call_and_validate(checks=CHECKS)

    answers()
