"""Remote media: what an S3 store answers (a real s3fs, a server of the test's), and roots."""

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from upath import UPath

from extract.errors import InputError
from extract.media.files import MediaError, UnavailableError
from extract.media.reading import Reader
from extract.media.remote import resolve_remote

DATA = b"a picture"
LISTING = (
    b'<?xml version="1.0"?><ListBucketResult><Name>shop</Name><KeyCount>1</KeyCount>'
    b"<Contents><Key>media/a.txt</Key><Size>9</Size></Contents></ListBucketResult>"
)


@contextmanager
def store(answer):
    """An S3 server; ``answer(method, path)`` gives (status, S3's error code or None, body)."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            status, code, body = answer(self.command, self.path)
            if code:
                body = f"<Error><Code>{code}</Code><Message>{code}!</Message></Error>".encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Content-Type", "application/xml")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_HEAD = do_GET  # noqa: N815 - as http.server wants it

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        root = UPath(
            "s3://shop/media",
            key="k",
            secret="s",
            endpoint_url=f"http://127.0.0.1:{server.server_port}",
            config_kwargs={"retries": {"max_attempts": 0}},
            use_listings_cache=False,
            skip_instance_cache=True,
        )
        root.fs.retries = 1
        yield Reader(modality="text", base=root, roots=[root], max_seconds=1)
    finally:
        server.shutdown()
        server.server_close()


def answering(head, get, listing):
    """Answers to HEAD and GET of an object, and to whatever asks for the folder above it."""

    def answer(method, path):
        if "a.txt" not in path:
            if method == "HEAD" and listing[0] == 200:
                return 404, None, b""
            return listing
        return head if method == "HEAD" else get

    return answer


FINE, LISTED = (200, None, DATA), (200, None, LISTING)


def refused(status, code):
    return (status, code, b"")


def test_the_server_of_this_test_gives_a_file():
    with store(answering(FINE, FINE, LISTED)) as reader:
        assert reader.read_file("a.txt")[1] == DATA.decode()


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (503, "SlowDown"),
        (503, "ServiceUnavailable"),
        (500, "InternalError"),
        (507, "NeverHeardOfIt"),
        (403, "ExpiredToken"),
        (403, "InvalidAccessKeyId"),
        (403, "RequestTimeTooSkewed"),
        (400, "InvalidToken"),
    ],
)
@pytest.mark.parametrize("at", ["size", "content"])
def test_a_store_that_is_out_of_order_or_refuses_everything_ends_the_run(status, code, at):
    fault = refused(status, code)
    with store(answering(fault if at == "size" else FINE, fault, fault)) as reader:
        with pytest.raises(InputError, match=r"s3://shop/media.* cannot be reached \(") as ending:
            reader.read_file("a.txt")
        with pytest.raises(InputError):
            reader.file_digest("a.txt")
    assert "run the same command again" in str(ending.value)


@pytest.mark.parametrize("at", ["size", "content"])
@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (refused(403, "AccessDenied"), "no permission to read the file"),
        (refused(400, "InvalidRequest"), "unreadable file ("),
        (refused(404, "NoSuchKey"), "file not found"),
    ],
)
def test_a_file_that_alone_is_refused_is_that_items_failure(fault, says, at):
    with store(answering(fault if at == "size" else FINE, fault, LISTED)) as reader:
        digest, reason = reader.read_file("a.txt")
        assert isinstance(reason, MediaError)
        assert str(reason).startswith(says)
        assert digest is None
        with pytest.raises(UnavailableError):
            reader.file_digest("a.txt")


@pytest.mark.parametrize(
    "up",
    [
        "../secret.png",
        "%2e%2e/secret.png",
        "%2E./secret.png",
        "..%2fsecret.png",
        "%2e%2e%2Fsecret.png",
        "..\\secret.png",
        "%2e%2e%5csecret.png",
        "%252e%252e/secret.png",
        "deeper/%2e%2e/%2e%2e/secret.png",
    ],
)
def test_no_spelling_of_the_folder_above_leaves_a_root(up):
    root = UPath("https://host/allowed")
    for path in (up, f"https://host/allowed/{up}"):
        with pytest.raises(MediaError, match="outside the media roots"):
            resolve_remote(path, root, [root])


@pytest.mark.parametrize("path", ["a.png", "50%25.png", "a..b/c...png", "a%20b/%C3%A9.png", "100%"])
def test_what_is_below_a_root_is_found_as_it_is_spelt(path):
    root = UPath("https://host/allowed")
    for given in (path, f"https://host/allowed/{path}"):
        place, found = resolve_remote(given, root, [root])
        assert str(place) == f"https://host/allowed/{path}"
        assert found is root
