"""The options of `serve`, and what is said of those that cannot be."""

import socket

import pytest

import cli
from mmssl.serve import server


def run(capsys, *arguments):
    """Exit code and standard error of a command line that ends by itself."""
    with pytest.raises(SystemExit) as stop:
        cli.run(cli.app, ["serve", *map(str, arguments)])
    return stop.value.code, capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--host", "no.such.host.invalid"), "cannot listen there"),
        (("--encoder", "smell=x"), "--encoder smell=x: not of image, audio or text"),
        (("--encoder", "image"), "--encoder image: not of the form MODALITY=URI"),
        (("--encoder", "text=a:b", "--encoder", "text=c:d"), "'text' is given twice"),
        (("--media-root", "nowhere"), "--media-root nowhere: no such folder"),
        (("--column", "image=nothing"), "no column 'nothing'"),
        (("--text-template", "{nothing}"), "no column 'nothing'"),
        (("--id-column", "nothing"), "no column 'nothing'"),
        (("--device", "tpu"), "--device tpu: unknown device"),
        (("--port", "65536"), "'--port'"),
        (("--upload-mb", "0"), "'--upload-mb'"),
        (("--project", "."), "nothing is left for it"),
    ],
)
def test_what_a_person_can_mend_is_one_line_and_exit_code_2(shop, settings, capsys, options, said):
    where = ("--model", settings.model, "--items", shop / "items.csv")
    code, err = run(capsys, *where, *options)
    assert code == 2
    (line,) = [line for line in err.splitlines() if line.startswith("error: ")]
    assert said in line


def test_a_port_that_is_taken_is_said_before_anything_is_loaded(shop, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, err = run(capsys, "--model", "no", "--items", "no", "--port", port)
    assert code == 2
    assert f"--port {port}: cannot listen there" in err


def test_no_model_or_no_table_is_said(shop, settings, capsys):
    code, err = run(capsys, "--model", shop, "--items", shop / "items.csv", "--port", 0)
    assert (code, "no trained model here" in err) == (2, True)
    code, err = run(capsys, "--model", settings.model, "--items", shop / "no.csv", "--port", 0)
    assert (code, "no.csv" in err) == (2, True)


def test_every_option_reaches_the_server(shop, settings, monkeypatch):
    given = []
    monkeypatch.setattr(server, "serve", lambda settings, report: given.append(settings))
    options = {
        "--model": settings.model,
        "--items": shop / "items.csv",
        "--id-column": "item_id",
        "--column": "image=image",
        "--text-template": "{title}",
        "--media-root": shop,
        "--host": "::1",
        "--port": 1,
        "--device": "cpu",
        "--allow-host": "shop.example",
        "--upload-mb": 0.5,
        "--body-seconds": 1,
        "--answer-seconds": 2,
        "--reload-seconds": 3,
        "--encoder": "text=letters:Letters",
        "--index": shop,
    }
    with pytest.raises(SystemExit):
        cli.run(cli.app, ["serve", *(str(word) for pair in options.items() for word in pair)])
    (made,) = given
    assert (made.model, made.host, made.port, made.device) == (settings.model, "::1", 1, "cpu")
    assert made.allowed_hosts == ("shop.example",)
    assert made.upload_bytes == 2**19
    assert (made.body_seconds, made.answer_seconds, made.reload_seconds) == (1, 2, 3)
    assert made.encoders == (("text", "letters:Letters"),)
    assert made.index == shop
    source = made.source
    assert (source.items, source.id_column) == (shop / "items.csv", "item_id")
    assert (list(source.columns), source.text_template) == (["image=image"], "{title}")
    assert list(source.media_roots) == [shop]
