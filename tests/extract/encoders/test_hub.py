"""Models of the hub where the hub has no address."""

import socket
import time

import pytest
from huggingface_hub import constants

from extract.encoders.uri import parse_uri
from extract.errors import InputError


@pytest.fixture
def no_network(monkeypatch):
    """A machine whose name look-ups fail at once; nothing is said to be offline."""

    def fail(*_arguments, **_options):
        raise socket.gaierror(-2, "Name or service not known")

    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(socket, "getaddrinfo", fail)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)


@pytest.mark.parametrize(
    ("uri", "modality", "works"),
    [
        ("hf:nobody/nothing", "text", "use a local folder, or packaged:NAME"),
        ("st:nobody/nothing", "text", "use a local folder, or packaged:NAME"),
        ("timm:resnet18", "image", "use a local folder, ?weights=FILE, or packaged:NAME"),
    ],
)
def test_without_a_network_the_answer_is_quick(uri, modality, works, no_network, load, capfd):
    start = time.monotonic()
    with pytest.raises(InputError) as raised:
        load(uri, modality)
    assert time.monotonic() - start < 10
    assert "the model hub cannot be reached" in str(raised.value)
    assert works in str(raised.value)
    assert capfd.readouterr().err.count("Retrying") == 0
    assert constants.HF_HUB_OFFLINE is False


def test_behind_a_proxy_the_proxy_looks_the_name_up(no_network, monkeypatch):
    from extract.encoders.hub import hub_access

    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    with hub_access(parse_uri("hf:a/b")):
        assert constants.HF_HUB_OFFLINE is False
    monkeypatch.delenv("HTTPS_PROXY")
    with hub_access(parse_uri("hf:a/b")):
        assert constants.HF_HUB_OFFLINE is True


def test_a_local_folder_needs_no_look_up(tiny, no_network, load):
    assert load(f"hf:{tiny('bert')}", "text").dim == 32


def test_a_wrong_option_is_not_blamed_on_the_network(no_network, load):
    with pytest.raises(InputError, match="unknown option 'poling'"):
        load("hf:nobody/nothing?poling=mean", "text")
