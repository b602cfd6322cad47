"""Clients that are slow or boundless, on real connections."""

import socket
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import replace

import pytest
import uvicorn

from mmssl.serve.protocol import MAX_HEADER_BYTES
from mmssl.serve.server import uvicorn_config
from mmssl.serve.service import Service


@contextmanager
def running(settings, engine):
    """A server in a thread, by its address."""
    server = uvicorn.Server(uvicorn_config(Service(settings, engine)))
    listening = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        yield listening.getsockname()
    finally:
        server.should_exit = True
        thread.join(10)
    assert not thread.is_alive()


@pytest.fixture
def address(settings, engine):
    """A server that is quick to lose patience."""
    impatient = replace(settings, header_seconds=0.5, body_seconds=0.7, upload_bytes=10_000)
    with running(impatient, engine) as address:
        yield address


@contextmanager
def connected(address):
    with socket.create_connection(address, timeout=10) as connection:
        yield connection


def everything(connection):
    """What comes until the server closes, and the seconds until then."""
    begun, data = time.monotonic(), b""
    try:
        while piece := connection.recv(65536):
            data += piece
    except ConnectionResetError:
        pass
    return data, time.monotonic() - begun


def is_open(connection):
    """Whether the server has not closed the connection, found out by waiting a moment."""
    connection.settimeout(0.02)
    try:
        return connection.recv(1) != b""
    except TimeoutError:
        return True
    except ConnectionError:
        return False
    finally:
        connection.settimeout(10)


def test_a_client_that_says_nothing_is_dropped(address):
    with connected(address) as connection:
        data, seconds = everything(connection)
    assert data == b""
    assert seconds < 5


def test_a_client_that_sends_its_headers_slowly_is_dropped_and_others_are_answered(address):
    with connected(address) as slow:
        slow.sendall(b"GET /health/live HTTP/1.1\r\n")
        begun = time.monotonic()
        while is_open(slow):
            slow.sendall(b"x: y\r\n")
            with connected(address) as other:
                other.sendall(b"GET /health/live HTTP/1.0\r\nHost: localhost\r\n\r\n")
                assert everything(other)[0].startswith(b"HTTP/1.1 200")
            assert time.monotonic() - begun < 5


def test_headers_without_end_are_cut_off(address):
    with connected(address) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n")
        line, sent = b"x: " + b"y" * (MAX_HEADER_BYTES // 4) + b"\r\n", 0
        with suppress(ConnectionError):
            while is_open(connection):
                connection.sendall(line)
                sent += len(line)
        assert sent < 2**22


def test_a_body_that_comes_slowly_is_408_and_the_connection_is_closed(address):
    with connected(address) as connection:
        connection.sendall(
            b"POST /api/search HTTP/1.1\r\nHost: localhost\r\n"
            b"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 5000\r\n\r\n--b"
        )
        data, seconds = everything(connection)
    assert data.startswith(b"HTTP/1.1 408")
    assert b"the request took longer than 0.7 seconds to arrive" in data
    assert seconds < 5


@pytest.mark.parametrize("route", [b"/api/search", b"/nowhere", b"/health/live"])
def test_a_body_without_end_ends_the_connection_whether_it_is_read_or_not(address, route):
    with connected(address) as connection:
        connection.sendall(
            b"POST " + route + b" HTTP/1.1\r\nHost: localhost\r\n"
            b"Content-Type: multipart/form-data; boundary=b\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        sent = 0
        with suppress(ConnectionError):
            while sent < 100_000_000:
                connection.sendall(b"1000\r\n" + b" " * 0x1000 + b"\r\n")
                sent += 0x1000
        assert sent < 100_000_000


def test_a_connection_is_used_again_and_its_second_request_may_be_late_too(address):
    ask = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with connected(address) as connection:
        for _ in range(3):
            connection.sendall(ask)
            assert connection.recv(65536).startswith(b"HTTP/1.1 200")
            time.sleep(0.3)
        connection.sendall(b"GET /health/live HTTP/1.1\r\n")
        assert everything(connection)[0] == b""


def test_what_is_no_http_is_400(address):
    with connected(address) as connection:
        connection.sendall(b"\x16\x03\x01hello\r\n\r\n")
        assert everything(connection)[0].startswith(b"HTTP/1.1 400")


def test_pipelined_requests_are_all_answered(address):
    ask = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"
    last = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    with connected(address) as connection:
        connection.sendall(ask * 5 + last)
        assert everything(connection)[0].count(b"HTTP/1.1 200") == 6


def test_a_client_that_does_not_take_its_answer_is_dropped(settings, engine, shop, monkeypatch):
    monkeypatch.setattr("mmssl.serve.protocol.STALLED_SECONDS", 0.5)
    with (shop / "tone.wav").open("r+b") as sound:
        sound.truncate(50_000_000)
    ask = b"GET /media/audio?item=plain HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with running(settings, engine) as address, connected(address) as connection:
        connection.sendall(ask)
        time.sleep(2)
        # What lay in the system's buffers still comes, and then the end, long before the sound's.
        assert len(everything(connection)[0]) < 49_000_000
