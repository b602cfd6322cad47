"""The page, health and measures."""

import re

from starlette.testclient import TestClient

from mmssl.serve import app as module
from mmssl.serve.app import create_app
from mmssl.serve.service import Service


def test_health_says_that_it_lives_and_which_model_is_ready(client, engine):
    assert client.get("/health/live").json() == {"status": "ok"}
    assert client.get("/health/ready").json() == {"status": "ok", "version": engine.digest}


def test_requests_are_counted_by_route_and_never_by_id(client):
    for user in ("u1", "u2", "nobody"):
        client.get("/api/recommend", params={"user": user})
    client.get("/secret/path")
    client.request("BREW", "/api/model")
    lines = client.get("/metrics").text.splitlines()
    requests = [line for line in lines if line.startswith("mmssl_requests_total{")]
    counted = {tuple(re.findall(r'"(.*?)"', line)): float(line.split()[-1]) for line in requests}
    assert counted == {
        ("GET", "/api/recommend", "200"): 2,
        ("GET", "/api/recommend", "404"): 1,
        ("GET", "none", "404"): 1,
        ("other", "/api/model", "405"): 1,
    }
    assert 'mmssl_request_seconds_count{route="/api/recommend"} 3.0' in lines


def test_a_fault_of_ours_is_500_in_one_line_without_its_words(settings, engine, monkeypatch):
    def fail(*_):
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(type(engine), "recommend", fail)
    app = create_app(Service(settings, engine))
    client = TestClient(app, base_url="http://localhost", raise_server_exceptions=False)
    answer = client.get("/api/recommend", params={"user": "u1"})
    assert answer.status_code == 500
    assert answer.json() == {"detail": "a fault of the server; its log says more"}
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert 'status="500"' in client.get("/metrics").text


def test_the_page_and_its_files_are_served_and_nothing_beside_them(
    settings, engine, monkeypatch, tmp_path
):
    page = tmp_path / "page"
    (page / "static").mkdir(parents=True)
    (page / "index.html").write_text("<!doctype html><title>Shop</title>")
    (page / "static" / "page.js").write_text("1")
    (page / "static" / "link.js").symlink_to(tmp_path / "secret.png")
    monkeypatch.setattr(module, "PAGE", page)
    client = TestClient(create_app(Service(settings, engine)), base_url="http://localhost")
    assert client.get("/").headers["content-type"].startswith("text/html")
    assert client.get("/static/page.js").headers["content-type"].startswith("text/javascript")
    paths = ["/static/link.js", "/static/", "/static/../index.html", "/static/%2e%2e/index.html"]
    assert [client.get(path).status_code for path in paths] == [404] * 4
