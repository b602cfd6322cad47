import shutil
import sys

import pytest
import torch

from extract.encoders.exported import file_digest
from extract.errors import InputError

onnxruntime = pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
openvino = pytest.importorskip("openvino", reason="the extra openvino is not installed")


@pytest.fixture(scope="module")
def folder(tiny, tmp_path_factory):
    """A sentence-transformers folder with the files that hubs have: ONNX, and OpenVINO's own."""
    copy = shutil.copytree(tiny("sentence_onnx"), tmp_path_factory.mktemp("exported") / "model")
    graph = openvino.Core().read_model(copy / "onnx" / "model.onnx")
    openvino.save_model(graph, copy / "openvino/openvino_model.xml", compress_to_fp16=False)
    return copy


@pytest.mark.parametrize(
    "query", ["backend=onnx", "backend=openvino", "backend=openvino&file_name=onnx/model.onnx"]
)
def test_an_exported_transformer_gives_pytorchs_vectors(query, folder, load, encode, raws):
    expected = encode(load(f"st:{folder}", "text"), raws["text"])
    encoder = load(f"st:{folder}?{query}", "text")
    torch.testing.assert_close(encode(encoder, raws["text"]), expected, rtol=0, atol=1e-5)
    fingerprint = encoder.fingerprint()
    assert fingerprint["backend"] == query.partition("=")[2].partition("&")[0]
    assert fingerprint["weights"] != load(f"st:{folder}", "text").fingerprint()["weights"]


def test_no_network_of_pytorchs_runs(folder, load, encode):
    encoder = load(f"st:{folder}?backend=onnx", "text")
    assert list(encoder.model.parameters()) == []


def test_chunks_and_prompts_act_on_it_too(folder, load, encode, raws):
    query = "chunk=9&overlap=2&prompt=search: "
    expected = encode(load(f"st:{folder}?{query}", "text"), raws["text"])
    vectors = encode(load(f"st:{folder}?backend=onnx&{query}", "text"), raws["text"])
    torch.testing.assert_close(vectors, expected, rtol=0, atol=1e-5)


def test_the_fingerprint_holds_the_weights_beside_the_graph(folder, load, tmp_path):
    other = shutil.copytree(folder, tmp_path / "model")
    assert (other / "onnx" / "model.onnx.data").is_file()
    before = load(f"st:{other}?backend=onnx", "text").fingerprint()
    data = bytearray((other / "onnx" / "model.onnx.data").read_bytes())
    data[7] ^= 1
    (other / "onnx" / "model.onnx.data").write_bytes(data)
    after = load(f"st:{other}?backend=onnx", "text").fingerprint()
    assert before["weights"] != after["weights"]
    assert {**before, "weights": 0} == {**after, "weights": 0}
    first = file_digest(folder / "openvino" / "openvino_model.xml")
    shutil.copytree(folder / "openvino", tmp_path / "openvino")
    (tmp_path / "openvino" / "openvino_model.bin").write_bytes(b"0")
    assert file_digest(tmp_path / "openvino" / "openvino_model.xml") != first


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("backend=tensorrt", "backend=tensorrt is unknown"),
        ("file_name=onnx/model.onnx", "file_name= needs backend="),
        (
            "backend=onnx&file_name=onnx/other.onnx",
            "no file onnx/other.onnx (it has: onnx/model.onnx)",
        ),
        ("backend=onnx&file_name=../model.onnx", "file_name=../model.onnx: give a .onnx file of"),
        ("backend=onnx&file_name=/etc/model.onnx", "give a .onnx file of the model"),
        ("backend=onnx&file_name=openvino/openvino_model.xml", "give a .onnx file of the model"),
        ("backend=openvino&file_name=model.safetensors", "give a .xml or .onnx file of the model"),
    ],
)
def test_refuses_in_one_line(query, words, folder, load):
    with pytest.raises(InputError) as raised:
        load(f"st:{folder}?{query}", "text")
    assert words in str(raised.value)


@pytest.mark.parametrize("backend", ["onnx", "openvino"])
def test_a_damaged_file_is_one_line(backend, tiny, load, tmp_path):
    folder = shutil.copytree(tiny("sentence"), tmp_path / "model")
    (folder / "broken.onnx").write_bytes(b"no graph")
    with pytest.raises(InputError, match="cannot be loaded") as raised:
        load(f"st:{folder}?backend={backend}&file_name=broken.onnx", "text")
    assert "\n" not in str(raised.value)


def test_a_graph_that_gives_no_tokens_is_refused(folder, load):
    class Sum(torch.nn.Module):
        def forward(self, input_ids):
            return input_ids.sum(1)

    torch.onnx.export(
        Sum(),
        (torch.ones(1, 3, dtype=torch.int64),),
        folder / "sum.onnx",
        input_names=["input_ids"],
        output_names=["total"],
        dynamo=True,
        verbose=False,
    )
    with pytest.raises(InputError, match=r"sum\.onnx gives total, and none of last_hidden_state"):
        load(f"st:{folder}?backend=onnx&file_name=sum.onnx", "text")


@pytest.mark.parametrize("backend", ["onnx", "openvino"])
def test_another_precision_or_device_is_refused(backend, folder, load):
    uri = f"st:{folder}?backend={backend}"
    with pytest.raises(InputError, match="in its file's precision, not in bfloat16"):
        load(uri, "text", dtype=torch.bfloat16)
    with pytest.raises(InputError, match=r"runs on (the CPU|cpu and cuda), not on mps"):
        load(uri, "text").to(torch.device("mps"), torch.float32)
    with pytest.raises(InputError, match="--compile: backend="):
        load(uri, "text").compile()


@pytest.mark.parametrize(
    ("backend", "library"), [("onnx", "onnxruntime"), ("openvino", "openvino")]
)
def test_a_missing_library_names_its_extra(backend, library, folder, load, monkeypatch):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(InputError, match=f"needs the extra '{backend}'"):
        load(f"st:{folder}?backend={backend}", "text")


def test_a_model_of_the_hub_is_read_from_its_cache(
    folder, load, encode, raws, tmp_path, monkeypatch
):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    commit = "0" * 40
    cached = tmp_path / "models--somebody--tiny"
    shutil.copytree(folder, cached / "snapshots" / commit)
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text(commit)
    expected = encode(load(f"st:{folder}?backend=onnx", "text"), raws["text"])
    vectors = encode(load("st:somebody/tiny?backend=onnx", "text"), raws["text"])
    assert torch.equal(vectors, expected)
