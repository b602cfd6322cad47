"""Items' pictures and sounds over HTTP, and what must not come that way."""

import io

import pytest
from PIL import Image


def get(client, kind, item, **headers):
    return client.get(f"/media/{kind}", params={"item": item}, headers=headers)


def test_a_picture_comes_small_and_fills_the_same_share(client):
    answer = get(client, "thumbnail", "plain")
    assert answer.headers["content-type"] == "image/jpeg"
    picture = Image.open(io.BytesIO(answer.content))
    assert (picture.format, picture.size) == ("JPEG", (256, 192))
    assert max(abs(a - b) for a, b in zip(picture.getpixel((9, 9)), (255, 0, 0), strict=True)) < 9


def test_a_picture_that_is_known_is_not_sent_again(client):
    first = get(client, "thumbnail", "plain")
    assert "max-age" in first.headers["cache-control"]
    again = get(client, "thumbnail", "plain", **{"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    other = get(client, "thumbnail", "plain", **{"if-none-match": '"other"'})
    assert other.content == first.content


@pytest.mark.parametrize(
    ("item", "status", "said"),
    [
        ("outside", 404, "outside the media roots"),
        ("link", 404, "outside the media roots"),
        ("gone", 404, "file not found"),
        ("bare", 404, "item 'bare' has no picture"),
        ("bomb", 415, "picture too large"),
        ("wrong", 415, "an HTML page, not a picture"),
        ("../../../etc/passwd", 404, "unknown item id"),
        ("/etc/passwd", 404, "unknown item id"),
        ("..%2f..%2fetc%2fpasswd", 404, "unknown item id"),
        ("secret.png", 404, "unknown item id"),
    ],
)
def test_what_is_no_picture_of_an_item_is_refused_with_the_reason(client, item, status, said):
    answer = get(client, "thumbnail", item)
    assert answer.status_code == status
    assert said in answer.json()["detail"]


def test_a_media_root_lets_in_what_lies_there(client_of, settings, shop):
    from extract.inspect.items import ItemSource
    from mmssl.serve.cards import read_cards
    from mmssl.serve.media import thumbnail

    source = ItemSource(items=shop / "items.csv", media_roots=[shop.parent])
    cards = read_cards(source, ["outside", "link"], 600)
    for row in (0, 1):
        assert Image.open(io.BytesIO(thumbnail(cards, row).jpeg)).size == (9, 9)


def test_a_sound_comes_as_it_is(client, shop):
    answer = get(client, "audio", "plain")
    assert answer.status_code == 200
    assert answer.content == (shop / "tone.wav").read_bytes()
    assert answer.headers["content-type"] == "audio/wav"
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("asked", "part"),
    [
        ("bytes=0-9", slice(0, 10)),
        ("bytes=100-", slice(100, None)),
        ("bytes=-7", slice(-7, None)),
        ("bytes=10-99999999", slice(10, None)),
        ("bytes=-99999999", slice(0, None)),
    ],
)
def test_a_part_of_a_sound_is_that_part(client, shop, asked, part):
    whole = (shop / "tone.wav").read_bytes()
    answer = get(client, "audio", "plain", range=asked)
    start, stop, _ = part.indices(len(whole))
    assert answer.status_code == 206
    assert answer.content == whole[part]
    assert answer.headers["content-range"] == f"bytes {start}-{stop - 1}/{len(whole)}"


@pytest.mark.parametrize("asked", ["bytes=99999999-", "bytes=9-3", "bytes=-0"])
def test_a_part_that_is_not_there_is_416(client, shop, asked):
    answer = get(client, "audio", "plain", range=asked)
    assert answer.status_code == 416
    assert answer.headers["content-range"] == f"bytes */{(shop / 'tone.wav').stat().st_size}"


@pytest.mark.parametrize(
    "asked", ["bytes=0-1,5-6", "items=0-1", "bytes=-", "bytes=x-y", "bytes=²-3"]
)
def test_a_range_that_is_not_understood_gives_the_whole(client, shop, asked):
    answer = get(client, "audio", "plain", range=asked.encode())
    assert (answer.status_code, answer.content) == (200, (shop / "tone.wav").read_bytes())


def test_a_part_of_another_version_gives_the_whole(client):
    first = get(client, "audio", "plain")
    same = get(
        client, "audio", "plain", **{"range": "bytes=0-1", "if-range": first.headers["etag"]}
    )
    other = get(client, "audio", "plain", **{"range": "bytes=0-1", "if-range": '"other"'})
    assert (same.status_code, other.status_code) == (206, 200)
    known = get(client, "audio", "plain", **{"if-none-match": first.headers["etag"]})
    assert known.status_code == 304


@pytest.mark.parametrize(
    ("item", "status", "said"),
    [
        ("outside", 404, "outside the media roots"),
        ("gone", 404, "file not found"),
        ("..", 404, "item '..' has no sound"),
        ("wrong", 415, "not a sound of a kind that browsers play"),
    ],
)
def test_what_is_no_sound_of_an_item_is_refused_with_the_reason(client, item, status, said):
    answer = get(client, "audio", item)
    assert answer.status_code == status
    assert said in answer.json()["detail"]


@pytest.mark.parametrize(
    "path",
    ["/media/../../etc/passwd", "/static/../app.py", "/static/%2e%2e/app.py", "/media/red.png"],
)
def test_no_path_leads_to_a_file(client, path):
    assert client.get(path).status_code == 404
