"""Hosts, sizes and times, over real sockets where a client would not send such a thing."""

import asyncio

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from mmssl.serve.app import known_hosts
from mmssl.serve.guards import Limits


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.0.0.1:8000", "localhost:1", "LOCALHOST", "[::1]", "[::1]:80"]
)
def test_this_machine_s_names_are_let_in(client, host):
    assert client.get("/health/live", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8000",
        "127.0.0.1.evil.example",
        "localhost.",
        "",
        "127.0.0.1:x",
    ],
)
def test_another_host_s_name_is_refused(client, host):
    answer = client.get("/health/live", headers={"host": host})
    assert answer.status_code == 400
    assert answer.json() == {"detail": "the Host header names another host"}


def test_a_name_that_a_person_gave_is_let_in_and_then_no_other(client_of):
    client = client_of(host="0.0.0.0", allowed_hosts=("shop.example",))
    assert client.get("/health/live", headers={"host": "Shop.example:443"}).status_code == 200
    assert client.get("/health/live", headers={"host": "other.example"}).status_code == 400
    anybody = client_of(host="0.0.0.0")
    assert anybody.get("/health/live", headers={"host": "other.example"}).status_code == 200


def test_only_a_server_for_others_may_be_called_by_any_name():
    assert known_hosts("0.0.0.0", ()) == ()
    for host in ("127.0.0.1", "127.8.8.8", "localhost", "::1"):
        assert "localhost" in known_hosts(host, ())
    assert "[::1]" in known_hosts("::1", ())


def test_another_site_s_page_may_not_post(client):
    answer = client.post(
        "/api/search", data={"modality": "text"}, headers={"sec-fetch-site": "cross-site"}
    )
    assert (answer.status_code, answer.json()) == (
        403,
        {"detail": "sent by the page of another site"},
    )


@pytest.mark.parametrize("path", ["/health/live", "/nowhere", "/api/recommend?k=0", "/metrics"])
def test_every_answer_forbids_foreign_content(client, path):
    headers = client.get(path).headers
    policy = headers["content-security-policy"].split("; ")
    assert "default-src 'self'" in policy
    assert "media-src 'self' blob:" in policy
    assert "img-src 'self' blob: data:" in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "TRACE", "BREW"])
def test_another_method_is_an_error_in_json(client, method):
    answer = client.request(method, "/api/recommend")
    assert answer.status_code == 405
    assert answer.json() == {"detail": "Method Not Allowed"}


async def _length(request: Request) -> Response:
    return JSONResponse(len(await request.body()))


async def _slow(request: Request) -> Response:
    await asyncio.sleep(60)
    return Response()


@pytest.fixture
def limited():
    limits = Middleware(Limits, body_bytes=1000, body_seconds=0.2, answer_seconds=0.2)
    routes = [Route("/length", _length, methods=["POST"]), Route("/slow", _slow)]
    return TestClient(Starlette(routes=routes, middleware=[limits]))


def test_bytes_are_counted_and_not_believed(limited):
    assert limited.post("/length", content=b"x" * 1000).json() == 1000
    # A generator is sent in chunks, without Content-Length.
    chunks = (b"x" * 100 for _ in range(11))
    answer = limited.post("/length", content=chunks)
    assert answer.status_code == 413
    assert answer.headers["connection"] == "close"
    lying = limited.post("/length", content=b"x" * 1001, headers={"content-length": "3"})
    assert lying.status_code == 413


def test_an_answer_that_takes_too_long_is_503(limited):
    answer = limited.get("/slow")
    assert answer.status_code == 503
    assert answer.json() == {"detail": "no answer within 0.2 seconds; try again later"}
