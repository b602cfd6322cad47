"""Another model without a pause, and work that does not pile up."""

import asyncio
import gc
import logging
import re
import shutil
import threading
import time
import weakref
from dataclasses import replace

import pytest
from starlette.exceptions import HTTPException

from mmssl.serve.engine import Engine
from mmssl.serve.service import Service
from tests.mmssl.serve.shop import saved_model


def listed(client):
    answer = client.get("/api/recommend", params={"user": "u1", "k": 5})
    assert answer.status_code == 200
    return answer.content


def test_a_new_model_answers_once_it_is_loaded(settings, engine):
    service = Service(settings, engine)
    saved_model(seed=1).save(settings.model / "model")
    assert service.engine.model.info.variant == "seed-0"
    assert asyncio.run(service.reload())
    assert service.engine.model.info.variant == "seed-1"
    assert service.engine.digest != engine.digest
    text = service.measures.text().decode()
    assert 'variant="seed-1"' in text
    assert 'variant="seed-0"' not in text
    assert 'mmssl_model_loads_total{result="taken"} 1.0' in text


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "config.json").write_text("{"),
        lambda folder: (folder / "vectors.safetensors").unlink(),
        lambda folder: (folder / "vectors.safetensors").write_bytes(b"x" * 99),
        shutil.rmtree,
    ],
)
def test_a_broken_model_is_logged_once_and_the_old_one_goes_on(settings, engine, caplog, damage):
    service = Service(settings, engine)
    saved_model(seed=1).save(settings.model / "model")
    damage(settings.model / "model")
    with caplog.at_level(logging.WARNING):
        assert not asyncio.run(service.reload())
        assert not asyncio.run(service.reload())
    assert service.engine is engine
    assert len(caplog.records) == 1
    assert caplog.records[0].getMessage().startswith("new model refused: ")
    assert caplog.records[0].exc_info in (None, False)
    saved_model(seed=2).save(settings.model / "model")
    assert asyncio.run(service.reload())
    assert service.engine.model.info.variant == "seed-2"


def test_a_folder_that_is_watched_changes_the_model_and_only_then(client_of, settings):
    client = client_of(reload_seconds=0.05)
    before = listed(client)
    time.sleep(0.3)
    loads = client.get("/metrics").text
    assert 'mmssl_model_loads_total{result="taken"}' not in loads
    saved_model(seed=1).save(settings.model / "model")
    until = time.monotonic() + 20
    while listed(client) == before:
        assert time.monotonic() < until
    assert client.get("/api/model").json()["variant"] == "seed-1"


def test_a_model_with_other_items_brings_their_cards(settings, engine, shop):
    model = saved_model()
    ids = ["unknown", *model.item_ids[1:]]
    replace(model, item_ids=ids).save(settings.model / "model")
    service = Service(settings, engine)
    assert asyncio.run(service.reload())
    assert service.engine.item("unknown").title == "Not in the model"
    assert engine.item("plain").title == "Red square"


def test_writing_over_the_files_does_not_touch_a_loaded_model(settings, engine):
    before = engine.recommend("u1", 5)
    # As `cp` does it: the same files, cut short and filled anew.
    for path in (settings.model / "model").glob("*.safetensors"):
        path.write_bytes(b"")
    after = engine.recommend("u1", 5)
    assert after.rows.tolist() == before.rows.tolist()
    assert engine.similar.of_item("plain", 3, "image").height == 3


def test_more_work_than_can_wait_is_refused_and_waiting_work_is_done(settings, engine):
    gate = threading.Event()

    async def crowd(call):
        waiting = [asyncio.create_task(call(gate.wait, 10)) for _ in range(100)]
        await asyncio.sleep(0.1)
        gate.set()
        return await asyncio.gather(*waiting, return_exceptions=True)

    for name, at_once in (("call", 64), ("encode", 16)):
        gate.clear()
        results = asyncio.run(crowd(getattr(Service(settings, engine), name)))
        assert results.count(True) == at_once
        refused = [result for result in results if isinstance(result, HTTPException)]
        assert [error.status_code for error in refused] == [503] * (100 - at_once)


def test_uploads_are_worked_on_one_at_a_time(settings, engine):
    running, most = 0, 0

    def work():
        nonlocal running, most
        running += 1
        most = max(most, running)
        time.sleep(0.01)
        running -= 1

    async def several():
        service = Service(settings, engine)
        await asyncio.gather(*(service.encode(work) for _ in range(8)))

    asyncio.run(several())
    assert most == 1


def test_a_model_that_was_refused_is_not_read_again_until_its_folder_changes(client_of, settings):
    client = client_of(reload_seconds=0.05)
    saved_model(seed=1).save(settings.model / "model")
    vectors = settings.model / "model" / "vectors.safetensors"
    whole = vectors.read_bytes()
    vectors.write_bytes(b"half")
    time.sleep(1)
    refused = re.search(r'result="refused"} (\d+)', client.get("/metrics").text)
    assert refused is None or int(refused[1]) <= 2
    assert client.get("/api/model").json()["variant"] == "seed-0"
    vectors.write_bytes(whole)
    until = time.monotonic() + 20
    while client.get("/api/model").json()["variant"] != "seed-1":
        assert time.monotonic() < until


def test_the_memory_of_an_old_model_is_free_at_once(settings, engine):
    service = Service(settings, Engine.load(settings))
    service.engine.card_json(0)
    service.engine.recommend("u1", 5)
    service.engine.thumbnail(0)
    held = [weakref.ref(service.engine), weakref.ref(service.engine.cards)]
    gc.disable()
    try:
        assert asyncio.run(service.reload())
        assert [reference() for reference in held] == [None, None]
    finally:
        gc.enable()
