"""Users, what they know, and their lists."""

import json
from urllib.parse import quote

import polars as pl
import pytest

from mmssl.recommend.fold_in import FoldIn
from mmssl.recommend.recommender import Recommender
from tests.mmssl.serve.shop import USERS


@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize("k", [1, 3, 1000])
def test_a_list_is_the_recommender_s_to_the_bit_for_every_user(client, settings, user, k):
    expected = Recommender.load(settings.model, "cpu").recommend([user], k)
    answer = client.get("/api/recommend", params={"user": user, "k": k}).json()
    assert answer["user"] == user
    assert answer["source"] == ("popularity" if user == "cold" else "model")
    assert [entry["item"]["id"] for entry in answer["items"]] == expected["item_id"].to_list()
    assert [entry["rank"] for entry in answer["items"]] == expected["rank"].to_list()
    scores = pl.Series([entry["score"] for entry in answer["items"]], dtype=pl.Float32)
    assert scores.to_list() == expected["score"].to_list()


def test_an_id_may_hold_anything_once_it_is_percent_encoded(client):
    for user in USERS:
        answer = client.get(f"/api/history?user={quote(user, safe='')}")
        assert answer.status_code == 200
        assert answer.json()["user"] == user


def test_a_history_is_what_was_seen_in_training_and_validation(client):
    answer = client.get("/api/history", params={"user": "u2"}).json()
    assert [item["id"] for item in answer["items"]] == ["a/b c", "ü?&=#%2F"]
    assert client.get("/api/history", params={"user": "cold"}).json()["items"] == []


def test_an_unknown_user_is_404_in_one_line(client):
    for route in ("/api/recommend", "/api/history"):
        answer = client.get(route, params={"user": "nobody\nat all"})
        assert answer.status_code == 404
        assert answer.json() == {"detail": "unknown user id 'nobody at all'"}


@pytest.mark.parametrize("k", ["0", "-1", "1001", "x", "", "1e3", "99999999999999999999"])
def test_k_out_of_range_is_422_and_names_k(client, k):
    answer = client.get("/api/recommend", params={"user": "u1", "k": k})
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("k: ")


def test_users_are_found_by_the_beginning_of_their_id_then_by_any_part(client):
    def found(query, limit=20):
        return client.get("/api/users", params={"query": query, "limit": limit}).json()["users"]

    assert found("U") == ["u1", "u2"]
    assert found("u", 1) == ["u1"]
    assert found("") == USERS
    assert found("b") == ["a/b c"]
    assert found("C") == ["cold", "a/b c"]
    assert found("no such") == []


@pytest.mark.parametrize("parts", [["image"], ["audio", "collaborative"], ["text", "image"]])
def test_some_parts_alone_rank_as_the_recommender_does(client, settings, parts):
    expected = Recommender.load(settings.model, "cpu").recommend(["u1"], 5, parts=parts)
    answer = client.get("/api/recommend", params={"user": "u1", "k": 5, "parts": parts}).json()
    assert [entry["item"]["id"] for entry in answer["items"]] == expected["item_id"].to_list()
    assert [entry["score"] for entry in answer["items"]] == expected["score"].to_list()


def test_an_unknown_part_is_422_and_names_those_there_are(client):
    answer = client.get("/api/recommend", params={"user": "u1", "parts": ["image", "smell"]})
    assert answer.status_code == 422
    assert "collaborative, audio, image, text" in answer.json()["detail"]


def test_a_new_user_s_list_is_that_of_the_model_grown_by_such_a_user(client, engine):
    history = ["a/b c", "..", "plain"]
    grown = FoldIn(engine.model).with_users({"newcomer": history})
    expected = Recommender(grown, "cpu").recommend(["newcomer"], 5)
    answer = client.post("/api/recommend", json={"history": history, "k": 5}).json()
    assert answer["source"] == "model"
    assert [entry["item"]["id"] for entry in answer["items"]] == expected["item_id"].to_list()
    scores = [entry["score"] for entry in answer["items"]]
    assert scores == pytest.approx(expected["score"].to_list(), abs=1e-5)
    # Twice the same, in another order, is the same history.
    again = client.post("/api/recommend", json={"history": [*history[::-1], ".."], "k": 5})
    assert again.json() == answer


def test_nobody_s_history_gives_what_is_popular(client):
    answer = client.post("/api/recommend", json={"history": [], "k": 2}).json()
    popular = client.get("/api/recommend", params={"user": "cold", "k": 2}).json()
    assert (answer["source"], answer["items"]) == ("popularity", popular["items"])


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({"history": ["nothing"]}, 404, "unknown item id 'nothing'"),
        ({"history": ["\ud800"]}, 404, "unknown item id"),
        ({"history": ["plain"] * 1001}, 422, "history: "),
        ({"history": ["plain"], "k": 0}, 422, "k: "),
        ({"history": "plain"}, 422, "history: "),
        ({}, 422, "history: "),
        ([], 422, "the request: "),
    ],
)
def test_a_wrong_history_is_4xx_in_one_line(client, body, status, said):
    content = json.dumps(body)
    answer = client.post(
        "/api/recommend", content=content, headers={"content-type": "application/json"}
    )
    assert answer.status_code == status
    assert answer.json()["detail"].startswith(said)


@pytest.mark.parametrize("route", ["users", "items"])
def test_a_search_for_more_words_than_anybody_types_is_422(client, route):
    assert client.get(f"/api/{route}", params={"query": "a " * 100}).status_code == 200
    answer = client.get(f"/api/{route}", params={"query": "a " * 101})
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("query: ")
