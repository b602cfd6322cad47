"""Items, media and stores in an S3 store: a real server (moto's), started by the test."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import extract
import mmssl
from cli import app
from extract.errors import InputError
from extract.extraction import run
from extract.locations import parse_location, remote_failure
from extract.store import FeatureStore

BUCKET = "s3://shop"


@contextmanager
def s3_server():
    """A server's process and address, in an environment in which s3fs finds it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    environment = {
        "AWS_ENDPOINT_URL": address,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, **quiet)
    try:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            for _ in range(600):
                try:
                    urllib.request.urlopen(address, timeout=1).close()
                    break
                except OSError:
                    assert process.poll() is None, "the S3 server ended"
                    time.sleep(0.1)
            yield process, address
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def server():
    with s3_server() as (_, address):
        parse_location(BUCKET).fs.mkdir("shop")
        yield address


@pytest.fixture
def shop(server, request, tmp_path):
    """A folder of the bucket with a table of pictures, and the same on this machine."""
    remote = parse_location(f"{BUCKET}/{request.node.name}")
    local = tmp_path / "local"
    (local / "pictures").mkdir(parents=True)
    draw = np.random.default_rng(0)
    for n in range(5):
        pixels = draw.integers(0, 256, (6, 5, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(local / "pictures" / f"{n}.png")
    (local / "pictures" / "3.png").write_bytes(b"no picture")
    (local / "pictures" / "empty.png").touch()
    rows = [f"i{n},pictures/{n}.png" for n in range(5)]
    rows += ["gone,pictures/gone.png", "empty,pictures/empty.png", "up,pictures/../../secret.png"]
    (local / "items.csv").write_text("\n".join(["item_id,image", *rows, "none,", ""]))
    for file in local.rglob("*.*"):
        (remote / str(file.relative_to(local))).write_bytes(file.read_bytes())
    (remote.parent / "secret.png").write_bytes((local / "pictures" / "0.png").read_bytes())
    return remote, local


def config(items, out, **options) -> extract.ExtractionConfig:
    values = {"items": str(items), "modality": "image", "out": str(out), "rows_per_part": 2}
    return extract.ExtractionConfig.parse(values | options)


def as_rows(store: FeatureStore) -> list[tuple]:
    loaded = store.load()
    vectors = [tuple(np.nan_to_num(row, nan=-1)) for row in loaded.vectors]
    statuses = store.statuses()
    return list(zip(loaded.ids, vectors, *(statuses[c] for c in statuses.columns), strict=True))


def test_what_comes_from_and_goes_to_s3_is_what_it_is_on_this_machine(shop, mean_colour, tmp_path):
    remote, local = shop
    summary = run(config(remote / "items.csv", remote / "store"), encoder=mean_colour())
    here = run(config(local / "items.csv", tmp_path / "store"), encoder=mean_colour())
    assert (summary.ok, summary.failed, summary.missing) == (4, 4, 1)
    assert summary.reasons == here.reasons
    assert {*summary.reasons} >= {"file not found", "empty file", "outside the media roots"}
    store = FeatureStore.open(f"{BUCKET}/{remote.name}/store")
    assert as_rows(store) == as_rows(FeatureStore.open(tmp_path / "store"))
    assert store.digest() == FeatureStore.open(tmp_path / "store").digest()
    # From here to there and back, too.
    run(config(local / "items.csv", remote / "up"), encoder=mean_colour())
    run(config(remote / "items.csv", tmp_path / "down"), encoder=mean_colour())
    for other in (FeatureStore.open(remote / "up"), FeatureStore.open(tmp_path / "down")):
        assert as_rows(other) == as_rows(store)


def test_a_run_goes_on_in_s3_and_takes_what_is_new_and_what_changed(shop, mean_colour):
    remote, local = shop
    there = config(remote / "items.csv", remote / "store")
    run(there, encoder=mean_colour())
    before = as_rows(FeatureStore.open(remote / "store"))
    assert run(there, encoder=mean_colour()).processed == 0
    (remote / "store" / "part-1.json").unlink()
    (remote / "store" / "part-2.npy").write_bytes(b"cut short")
    assert run(there, encoder=mean_colour()).processed == 4
    assert as_rows(FeatureStore.open(remote / "store")) == before
    table = (remote / "items.csv").read_text()
    (remote / "items.csv").write_text(table + "new,pictures/1.png\n")
    summary = run(there, encoder=mean_colour())
    assert (summary.added, summary.processed) == (1, 1)
    (remote / "pictures/0.png").write_bytes((local / "pictures/1.png").read_bytes())
    update = there.model_copy(update={"update": True})
    assert run(update, encoder=mean_colour()).changed == 1
    vectors = FeatureStore.open(remote / "store").load().vectors
    np.testing.assert_array_equal(vectors[0], vectors[1])
    assert run(update, encoder=mean_colour()).processed == 0


def test_a_folder_of_s3_is_a_catalogue(shop, mean_colour):
    remote, _ = shop
    summary = run(config(remote / "pictures", remote / "store"), encoder=mean_colour())
    assert FeatureStore.open(remote / "store").ids() == ["0", "1", "2", "3", "4", "empty"]
    assert summary.ok == 4


def test_urls_in_a_table_are_read_only_where_a_media_root_permits(shop, mean_colour, tmp_path):
    remote, local = shop
    table = local / "urls.csv"
    urls = [f"{remote}/pictures/1.png", f"{remote}-other/1.png", f"{remote}/pictures/../items.csv"]
    urls += [f"{BUCKET}/secret.png", "gs://shop/1.png", f"file://{local}/pictures/1.png"]
    table.write_text("item_id,image\n" + "".join(f"{n},{url}\n" for n, url in enumerate(urls)))
    refused = run(config(table, tmp_path / "a"), encoder=mean_colour())
    outside = "a URL outside the media roots (--media-root permits a folder of them)"
    assert refused.reasons == {outside: 6}
    roots = [f"{remote}/pictures"]
    summary = run(config(table, tmp_path / "b", media_roots=roots), encoder=mean_colour())
    assert (summary.ok, summary.reasons) == (1, {outside: 5})


def test_the_command_line_takes_urls(shop, capsys, monkeypatch):
    remote, _ = shop
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    encoder = "examples.custom_encoder:ColourHistogram"
    command = ["extract", "--modality", "image", "--items", str(remote / "items.csv")]
    app(args=[*command, "--out", str(remote / "f"), "--encoder", encoder], standalone_mode=False)
    assert f"features: {remote / 'f'}" in capsys.readouterr().out
    new = str(remote / "white")
    command = ["features", "transform", str(remote / "f"), "--out", new, "--method", "pca"]
    app(args=[*command, "--dim", "2"], standalone_mode=False)
    assert FeatureStore.open(new).load().vectors.shape == (9, 2)


def test_a_store_that_is_lost_ends_the_run_and_no_item_is_blamed(
    shop, mean_colour, tmp_path, monkeypatch
):
    _, local = shop
    pictures = [local / "pictures" / f"{n}.png" for n in (0, 1, 2, 4)]
    with s3_server() as (process, address):
        # Not BUCKET: what fsspec holds open for the other server must not serve here.
        bucket = parse_location("s3://lost")
        once = {"retries": {"max_attempts": 0}}
        options = {"endpoint_url": address, "config_kwargs": once, "use_listings_cache": False}
        away = type(bucket)("s3://lost", **options)
        away.fs.retries = 1
        away.fs.mkdir("lost")
        for picture in pictures:
            (away / picture.name).write_bytes(picture.read_bytes())

        class Ends(mean_colour):
            def preprocess(self, raw):
                process.kill()
                process.wait()
                return super().preprocess(raw)

        there = config("unused", tmp_path / "store", workers=1, rows_per_part=1)
        there = there.model_copy(update={"items": away})
        with pytest.raises(InputError, match=r"s3://lost/\d\.png: cannot be reached \(") as refusal:
            run(there, encoder=Ends())
    assert "run the same command again" in str(refusal.value)
    finished = FeatureStore.open(tmp_path / "store")
    whole = [n for n in range(4) if finished.part_record(n)]
    assert all(set(finished.part_statuses(n)["status"]) == {"ok"} for n in whole)
    assert len(whole) < 4


def test_a_place_that_cannot_be_reached_is_one_message_wherever_it_is_named(
    shop, mean_colour, tmp_path
):
    _, local = shop
    options = {
        "endpoint_url": "http://127.0.0.1:9",
        "config_kwargs": {"retries": {"max_attempts": 0}},
    }
    away = type(parse_location(BUCKET))("s3://away", **options)
    away.fs.retries = 1
    here = config(local / "items.csv", tmp_path / "store")
    for change in ({"out": away / "x"}, {"items": away / "i.csv"}, {"media_roots": (away / "p",)}):
        with pytest.raises(InputError, match=r"a remote store cannot be used \(EndpointConnection"):
            run(here.model_copy(update=change), encoder=mean_colour())
    with pytest.raises(InputError, match="a remote store cannot be used"):
        FeatureStore.open(away / "x")
    assert remote_failure(ValueError("ours")) is None


def test_places_that_are_not_there_are_one_message(shop, mean_colour, tmp_path):
    remote, local = shop
    for items, out, says in (
        (remote / "no.csv", tmp_path / "a", "no such file or folder"),
        ("s3://no-such-bucket/items.csv", tmp_path / "a", "no such file or folder"),
        (local / "items.csv", "s3://no-such-bucket/store", "cannot be written"),
        (local / "items.csv", remote / "pictures", "holds other files"),
        ("what://x/items.csv", tmp_path / "a", "what://x/items.csv cannot be reached"),
        (local / "items.csv", "s3://", "nothing stands behind s3://"),
    ):
        with pytest.raises(InputError, match=says) as refusal:
            run(config(items, out), encoder=mean_colour())
        assert "\n" not in str(refusal.value)
    with pytest.raises(InputError, match="no feature store here"):
        FeatureStore.open(f"{remote}/nowhere")


def test_a_scheme_without_its_library_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(ValueError, match=r"gs:// needs another library: .*mmssl-toolkit\[gcs\]"):
        parse_location("gs://bucket/items.csv")


def test_file_urls_and_paths_are_local(tmp_path):
    assert parse_location(f"file://{tmp_path}/a") == tmp_path / "a"
    assert parse_location("a/b") == parse_location(os.path.join("a", "b"))  # noqa: PTH118


def test_a_dataset_takes_features_from_s3(shop, mean_colour, tmp_path):
    remote, _ = shop
    run(config(remote / "items.csv", remote / "store"), encoder=mean_colour())
    likes = tmp_path / "likes.csv"
    likes.write_text("user_id,item_id\n" + "".join(f"u,i{n}\nv,i{n}\n" for n in range(5)))
    command = ["prepare", "--interactions", str(likes), "--features", f"image={remote / 'store'}"]
    app(args=[*command, "--out", str(tmp_path / "data")], standalone_mode=False)
    dataset = mmssl.Dataset.open(tmp_path / "data")
    rows = dataset.item_ids.rows(["i0", "i3"])
    assert dataset.features["image"].present[rows].tolist() == [True, False]
    expected = FeatureStore.open(remote / "store").load().vectors[0]
    np.testing.assert_array_equal(dataset.features["image"].vectors[rows[0]], expected)


def test_actors_of_a_ray_cluster_read_from_and_write_to_s3(shop, tmp_path, monkeypatch):
    pytest.importorskip("ray")
    remote, local = shop
    # Where the encoder's module is.
    monkeypatch.chdir(Path(__file__).parent / "engines")
    options = {"encoder": "ray_encoders:Colours", "device": "cpu"}
    summary = run(config(remote / "items.csv", remote / "store", engine="ray", **options))
    here = run(config(local / "items.csv", tmp_path / "store", **options))
    assert (summary.ok, summary.failed, summary.missing) == (4, 4, 1)
    assert summary.reasons == here.reasons
    there, store = FeatureStore.open(remote / "store"), FeatureStore.open(tmp_path / "store")
    assert there.statuses().equals(store.statuses())
    np.testing.assert_allclose(there.load().vectors, store.load().vectors, rtol=0, atol=1e-5)
