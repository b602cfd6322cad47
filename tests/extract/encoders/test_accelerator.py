"""Every family of encoders on a GPU beside the CPU; skipped where there is none."""

import numpy as np
import pytest
import torch

import extract
from extract.encoders.registry import load_encoder
from extract.errors import InputError
from tests.extract.encoders.test_families import FAMILIES, Folders

# What an encoder says that takes no other device than the CPU, or that is not installed.
NOT_HERE = ("runs on", "needs the extra")


@pytest.mark.parametrize(("template", "modality"), FAMILIES, ids=[f"{u}-{m}" for u, m in FAMILIES])
def test_its_vectors_are_those_of_the_cpu(
    template, modality, tiny, load, encode, raws, words_plugin, accelerator
):
    for backend in ("onnx", "openvino"):
        if f"backend={backend}" in template:
            pytest.importorskip({"onnx": "onnxruntime"}.get(backend, backend))
    uri = template.format_map(Folders(tiny))
    try:
        wanted = encode(load(uri, modality), raws[modality])
        encoder = load_encoder(uri, modality, device=accelerator, dtype=torch.float32)
    except InputError as error:
        if not any(reason in str(error) for reason in NOT_HERE):
            raise
        pytest.skip(str(error))
    vectors = encode(encoder, raws[modality])
    scale = wanted.abs().max()
    # Convolutions may be computed in TF32, of ten bits.
    torch.testing.assert_close(vectors, wanted, rtol=0, atol=float(5e-3 * scale))


@pytest.mark.parametrize("name", ["vit", "bert", "wav2vec2"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_in_half_precision_they_are_near(name, dtype, tiny, load, encode, raws, accelerator):
    modality = {"vit": "image", "bert": "text", "wav2vec2": "audio"}[name]
    wanted = encode(load(f"hf:{tiny(name)}", modality), raws[modality])
    half = load_encoder(f"hf:{tiny(name)}", modality, device=accelerator, dtype=dtype)
    cosine = torch.cosine_similarity(encode(half, raws[modality]), wanted)
    assert (cosine > 0.98).all()


@pytest.fixture
def pictures(tmp_path, raws):
    rows = ["item_id,image"]
    for number in range(40):
        # Unlike each other: what is the same is encoded once.
        picture = raws["image"][number % 5].copy()
        picture.putpixel((0, 0), (number, 0, 0))
        picture.save(tmp_path / f"{number}.png")
        rows.append(f"i{number},{number}.png")
    (tmp_path / "items.csv").write_text("\n".join(rows) + "\n")
    return tmp_path / "items.csv"


def stored(pictures, tmp_path, tiny, name, **options):
    config = extract.ExtractionConfig.parse(
        {
            "items": pictures,
            "modality": "image",
            "encoder": f"hf:{tiny('vit')}",
            "out": tmp_path / name,
            **options,
        }
    )
    summary = extract.run(config, progress=False)
    assert summary.ok == 40
    return extract.FeatureStore.open(tmp_path / name).load().vectors


def test_an_extraction_stores_what_the_cpu_s_stores(pictures, tmp_path, tiny, accelerator):
    on_cpu = stored(pictures, tmp_path, tiny, "cpu", device="cpu")
    there = stored(pictures, tmp_path, tiny, "there", device=str(accelerator), batch_size=7)
    np.testing.assert_allclose(there, on_cpu, atol=5e-3 * np.abs(on_cpu).max())


def test_a_batch_too_large_for_its_memory_is_divided(
    pictures, tmp_path, tiny, accelerator, monkeypatch, caplog
):
    if accelerator.type != "cuda":
        pytest.skip("only CUDA's memory can be bounded")
    from transformers import ViTModel

    on_cpu = stored(pictures, tmp_path, tiny, "cpu", device="cpu")
    forward, seen = ViTModel.forward, []

    def hungry(self, pixel_values, *arguments, **options):
        # Real memory, asked of the device in proportion to the batch.
        seen.append(len(pixel_values))
        torch.empty(len(pixel_values), 2**26, dtype=torch.float32, device=pixel_values.device)
        return forward(self, pixel_values, *arguments, **options)

    monkeypatch.setattr(ViTModel, "forward", hungry)
    total = torch.cuda.get_device_properties(accelerator).total_memory
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(3 * 2**30 / total, accelerator)
    try:
        there = stored(
            pictures, tmp_path, tiny, "there", device=str(accelerator), batch_size=40, workers=1
        )
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, accelerator)
    np.testing.assert_allclose(there, on_cpu, atol=5e-3 * np.abs(on_cpu).max())
    assert max(seen) > 12 >= seen[-1]
    assert "out of memory: the encoder gets" in caplog.text
