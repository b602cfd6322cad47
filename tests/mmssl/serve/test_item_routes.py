"""The model and its items."""

from urllib.parse import unquote

import pytest


def test_an_item_without_a_row_in_the_table_has_its_id_alone(client):
    answer = client.get("/api/item", params={"id": "bare"}).json()
    assert answer == {"id": "bare", "title": "bare", "text": None, "image": None, "audio": None}


def test_an_item_bears_urls_by_which_its_media_come(client):
    for item in ("plain", "a/b c", "ü?&=#%2F"):
        card = client.get("/api/item", params={"id": item}).json()
        assert unquote(card["image"]) == f"/media/thumbnail?item={item}"
        assert client.get(card["image"]).headers["content-type"] == "image/jpeg"
        assert client.get(card["audio"]).headers["content-type"] == "audio/wav"


def test_a_title_is_the_column_s_else_the_text_s_beginning(client):
    assert client.get("/api/item", params={"id": "plain"}).json()["title"] == "Red square"
    assert client.get("/api/item", params={"id": "a/b c"}).json()["title"] == "Straße, with a tone"


def test_a_film_is_not_offered_as_a_sound(client):
    assert client.get("/api/item", params={"id": ".."}).json()["audio"] is None


@pytest.mark.parametrize("item", ["nope", "", "unknown", "../../etc/passwd"])
def test_an_unknown_item_is_404(client, item):
    answer = client.get("/api/item", params={"id": item})
    assert (answer.status_code, answer.json()) == (404, {"detail": f"unknown item id '{item}'"})


def test_words_are_found_in_ids_titles_and_texts_whatever_their_case(client):
    def found(query, limit=20):
        items = client.get("/api/items", params={"query": query, "limit": limit}).json()["items"]
        return [(item["id"], item["match"]) for item in items]

    assert found("SQUARE red") == [("plain", "title")]
    assert found("hums") == [("plain", "text")]
    assert found("STRASSE") == [("a/b c", "text")]
    assert found("wrong") == [("wrong", "id")]
    assert found("odd") == [("ü?&=#%2F", "title")]
    assert found("o")[:2] == [("outside", "id"), ("bomb", "id")]
    assert len(found("o", 3)) == 3
    assert found("red tone") == []
    assert len(found("")) == 10


def test_a_query_is_no_pattern(client):
    for query in (".*", "[", "(", "\\", "%", "\x00"):
        answer = client.get("/api/items", params={"query": query})
        assert answer.status_code == 200
    found = client.get("/api/items", params={"query": "%2f"}).json()["items"]
    assert [item["id"] for item in found] == ["ü?&=#%2F"]


def test_the_model_says_what_it_is(client, engine):
    answer = client.get("/api/model").json()
    assert (answer["name"], answer["variant"]) == ("mmssl", "seed-0")
    assert (answer["users"], answer["items"]) == (6, 10)
    assert answer["metrics"] == {"recall@20": 0.25}
    assert answer["popularity"] == {"recall@20": 0.125}
    assert answer["version"] == engine.digest
    assert len(answer["version"]) == 64
