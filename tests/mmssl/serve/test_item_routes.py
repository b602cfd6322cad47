"""The model and its items."""

from urllib.parse import unquote

import numpy as np
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


def test_the_model_names_its_parts_its_spaces_and_what_can_be_searched(client):
    answer = client.get("/api/model").json()
    assert answer["parts"] == ["collaborative", "audio", "image", "text"]
    assert answer["spaces"] == ["model", "audio", "image", "text"]
    assert answer["modalities"] == [
        {"name": "audio", "encoder": "melstats:64", "searchable": True},
        {"name": "image", "encoder": None, "searchable": False},
        {"name": "text", "encoder": "letters:Letters", "searchable": False},
    ]


@pytest.mark.parametrize("space", ["model", "audio", "image"])
def test_similar_items_are_those_of_largest_cosine(client, engine, space):
    answer = client.get("/api/similar", params={"item": "a/b c", "space": space, "k": 4}).json()
    model = engine.model
    if space == "model":
        vectors, there = model.item_vectors.numpy(), np.ones(len(model.item_ids), bool)
    else:
        vectors, there = model.features[space].vectors, model.features[space].present
        vectors = vectors - vectors[there].mean(axis=0)
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = np.where(there, units @ units[1], -2)
    cosines[1] = -2
    best = np.argsort(-cosines)[:4]
    assert answer["space"] == space
    assert answer["item"]["id"] == "a/b c"
    assert [entry["item"]["id"] for entry in answer["items"]] == [model.item_ids[i] for i in best]
    assert [entry["rank"] for entry in answer["items"]] == [1, 2, 3, 4]
    found = [entry["similarity"] for entry in answer["items"]]
    assert found == pytest.approx(cosines[best].tolist(), abs=1e-5)


def test_an_unknown_space_is_422_and_an_item_without_the_medium_too(client):
    wrong = client.get("/api/similar", params={"item": "plain", "space": "smell"})
    assert wrong.status_code == 422
    assert "audio" in wrong.json()["detail"]
    silent = client.get("/api/similar", params={"item": "bare", "space": "audio"})
    assert silent.status_code == 422
    assert "'bare' has no audio" in silent.json()["detail"]
    assert client.get("/api/similar", params={"item": "no", "space": "audio"}).status_code == 404


def test_an_explanation_s_shares_sum_to_the_score_of_the_list(client):
    listed = client.get("/api/recommend", params={"user": "u2", "k": 3}).json()["items"]
    for entry in listed:
        answer = client.get(
            "/api/explain", params={"user": "u2", "item": entry["item"]["id"]}
        ).json()
        assert answer["score"] == pytest.approx(entry["score"], abs=1e-5)
        assert sum(answer["shares"].values()) == pytest.approx(entry["score"], abs=1e-5)
        # Each part of the vectors is a multiple of the whole, so its share is that multiple.
        assert answer["shares"]["audio"] == pytest.approx(0.5 * entry["score"], abs=1e-5)
        assert [near["item"]["id"] for near in answer["nearest"]["image"]] == ["a/b c"]


def test_what_cannot_be_explained_is_an_error_in_one_line(client):
    ask = {"user": "cold", "item": "plain"}
    cold = client.get("/api/explain", params=ask)
    assert (cold.status_code, "no training interaction" in cold.json()["detail"]) == (422, True)
    for unknown in ({"user": "nobody"}, {"item": "nothing"}):
        assert client.get("/api/explain", params={**ask, **unknown}).status_code == 404
