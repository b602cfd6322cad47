"""Every family of encoders, each through the same rules."""

import json

import numpy as np
import pytest
import soundfile
import torch

import extract
from extract.encoders.uri import parse_uri

FAMILIES = [
    ("packaged:efficientnet-lite0", "image"),
    ("packaged:minilm", "text"),
    ("packaged:minilm?chunk=16&overlap=4", "text"),
    ("packaged:whisper-tiny-en?window=1", "audio"),
    ("melstats:64", "audio"),
    ("examples.custom_encoder:ColourHistogram", "image"),
    ("plugin:word-lengths?most=8", "text"),
    ("torchvision:squeezenet1_1?weights={squeezenet}/weights.pth&sha256={digest}", "image"),
    ("torchvision:shufflenet_v2_x0_5?weights=random", "image"),
    ("torchvision:squeezenet1_1?weights=random&layer=features.3&pooling=max", "image"),
    ("torchvision:squeezenet1_1?weights=random&layer=features.6,features.3", "image"),
    ("timm:test_resnet?weights={timm_resnet}/weights.safetensors", "image"),
    ("timm:test_vit?weights=random&seed=3", "image"),
    ("timm:test_vit?weights=random&layer=-1,2", "image"),
    ("timm:test_resnet?weights=random&layer=layer2.0,act1&pooling=max", "image"),
    ("hf:{vit}", "image"),
    ("hf:{dinov2}?layer=1", "image"),
    ("hf:{dinov3}", "image"),
    ("hf:{convnext}", "image"),
    ("hf:{convnext}?layer=1,-1", "image"),
    ("hf:{clip}", "image"),
    ("hf:{siglip}", "image"),
    ("hf:{siglip2}", "image"),
    ("hf:{siglip2}?pooling=mean", "image"),
    ("hf:{bert}", "text"),
    ("hf:{bert}?pooling=max&layer=-2", "text"),
    ("hf:{bert}?layer=0,1,2", "text"),
    ("hf:{bert}?chunk=9&overlap=3", "text"),
    ("hf:{roberta}?pooling=cls", "text"),
    ("hf:{e5}", "text"),
    ("hf:{gpt2}", "text"),
    ("hf:{llama}", "text"),
    ("hf:{qwen3}", "text"),
    ("hf:{qwen3}?chunk=10", "text"),
    ("hf:{t5}", "text"),
    ("hf:{clip}", "text"),
    ("hf:{clip}?pooling=last", "text"),
    ("hf:{siglip}", "text"),
    ("hf:{siglip2}", "text"),
    ("hf:{clap}", "text"),
    ("hf:{clap}?chunk=8", "text"),
    ("hf:{wav2vec2}?window=1&hop=0.5", "audio"),
    ("hf:{wav2vec2_layer_norm}", "audio"),
    ("hf:{hubert}", "audio"),
    ("hf:{wavlm}?layer=1,2", "audio"),
    ("hf:{whisper}", "audio"),
    ("hf:{whisper}?layer=0,-1", "audio"),
    ("hf:{ast}", "audio"),
    ("hf:{clap}", "audio"),
    ("st:{sentence}", "text"),
    ("st:{sentence}?chunk=10&overlap=2&prompt=search: ", "text"),
    ("st:{sentence_onnx}?backend=onnx", "text"),
    ("st:{sentence_onnx}?backend=openvino&file_name=onnx/model.onnx", "text"),
    (
        "torchaudio:wav2vec2_model?config={speech}/config.json"
        "&weights={speech}/weights.safetensors&window=1&layer=1",
        "audio",
    ),
    ("torchaudio:wav2vec2_model?config={speech}/config.json&weights=random&layer=1,-1", "audio"),
]


@pytest.fixture
def save(tmp_path):
    """``save(modality, rows)``: an item table of (id, medium); media without loss beside it."""

    def write(modality, rows):
        lines = []
        for name, raw in rows:
            row = {"item_id": name, modality: None}
            if modality == "text":
                row["text"] = raw
            elif raw is not None:
                row[modality] = f"{name}.{'png' if modality == 'image' else 'wav'}"
                path = tmp_path / row[modality]
                if modality == "image":
                    raw.save(path)
                else:
                    samples = raw.samples.astype(np.float32)
                    soundfile.write(path, samples, raw.sample_rate, subtype="FLOAT")
            lines.append(json.dumps(row))
        (tmp_path / "items.jsonl").write_text("\n".join(lines))
        return tmp_path / "items.jsonl"

    return write


class Folders(dict):
    """Folders of tiny models, built when a URI names them."""

    def __init__(self, tiny):
        super().__init__()
        self.tiny = tiny

    def __missing__(self, name):
        if name == "digest":
            from extract.files import sha256_file

            return sha256_file(self.tiny("squeezenet") / "weights.pth")
        return str(self.tiny(name))


@pytest.mark.parametrize(("template", "modality"), FAMILIES, ids=[f"{u}-{m}" for u, m in FAMILIES])
def test_rules_of_the_contract(
    template, modality, tiny, load, encode, raws, words_plugin, save, tmp_path
):
    for backend in ("onnx", "openvino"):
        if f"backend={backend}" in template:
            pytest.importorskip({"onnx": "onnxruntime"}.get(backend, backend))
    uri = template.format_map(Folders(tiny))
    encoder = load(uri, modality)
    media = raws[modality][:4]

    vectors = encode(encoder, media)

    assert vectors.shape == (len(media), encoder.dim)
    assert torch.isfinite(vectors).all()
    assert len({tuple(row.tolist()) for row in vectors}) == len(media)
    scale = vectors.abs().max()
    single = torch.cat([encode(encoder, [raw]) for raw in media])
    assert torch.allclose(single, vectors, rtol=0, atol=1e-5 * scale)
    assert torch.equal(encode(encoder, media[:1]), single[:1])
    shuffled = [3, 0, 2, 1]
    permuted = encode(encoder, [media[i] for i in shuffled])
    assert torch.allclose(permuted, vectors[shuffled], rtol=0, atol=1e-5 * scale)
    lengths = [encoder.length(encoder.preprocess(raw)) for raw in media]
    assert all(isinstance(length, int) and length >= 0 for length in lengths)
    fingerprint = encoder.fingerprint()
    assert json.loads(json.dumps(fingerprint)) == fingerprint
    assert encoder.space
    if "layers" in fingerprint:
        names = parse_uri(uri).names("layer")
        assert [name for name, _ in fingerprint["layers"]] == list(names)
        assert sum(width for _, width in fingerprint["layers"]) == encoder.dim

    # The same through a run: the table's order, an item without a medium, a store that is read.
    rows = [("d", media[3]), ("gap", None), ("a", media[0]), ("c", media[2]), ("b", media[1])]
    summary = extract.run(
        extract.ExtractionConfig(
            items=save(modality, rows),
            modality=modality,
            encoder=uri,
            out=tmp_path / "store",
            batch_size=3,
            workers=2,
            device="cpu",
        ),
        encoder=encoder,
    )
    assert (summary.ok, summary.missing, summary.failed) == (4, 1, 0)
    store = extract.FeatureStore.open(tmp_path / "store")
    assert store.ids() == ["d", "gap", "a", "c", "b"]
    assert (store.manifest.dim, store.manifest.space) == (encoder.dim, encoder.space)
    stored = torch.from_numpy(store.part_vectors(0).copy())
    assert stored.dtype == torch.float32
    assert stored[1].isnan().all()
    assert torch.allclose(stored[[2, 4, 3, 0]], vectors, rtol=0, atol=1e-5 * scale)


@pytest.mark.parametrize(
    ("name", "modalities"),
    [
        ("clip", ("image", "text")),
        ("siglip", ("image", "text")),
        ("siglip2", ("image", "text")),
        ("clap", ("text", "audio")),
    ],
)
def test_towers_of_one_model_share_a_space(name, modalities, tiny, load):
    first, second = (load(f"hf:{tiny(name)}", modality) for modality in modalities)
    assert first.space == second.space
    assert first.dim == second.dim
    assert first.fingerprint()["weights"] == second.fingerprint()["weights"]


@pytest.mark.parametrize(
    ("template", "modality"),
    [
        (u, m)
        for u, m in FAMILIES
        # The others compute without PyTorch, or in the precision of their file.
        if not u.startswith(("packaged:whisper", "melstats", "examples", "plugin"))
        and not any(option in u for option in ("backend=", "layer=-1,2", "layer=0,", "hop="))
    ],
)
def test_bfloat16_is_near_float32(template, modality, tiny, load, encode, raws):
    uri = template.format_map(Folders(tiny))
    media = raws[modality][:3]
    full = encode(load(uri, modality), media)

    encoder = load(uri, modality, dtype=torch.bfloat16)
    half = encode(encoder, media)

    assert half.shape == full.shape
    cosine = torch.nn.functional.cosine_similarity(half, full)
    assert cosine.min() > 0.98
    weights = [p for p in vars(encoder).values() if isinstance(p, torch.nn.Module)]
    dtypes = {p.dtype for module in weights for p in module.parameters()}
    assert dtypes <= {torch.bfloat16}


@pytest.mark.parametrize(
    ("template", "other"),
    [
        ("hf:{bert}", "hf:{bert}?pooling=cls"),
        ("hf:{bert}", "hf:{bert}?layer=1"),
        ("hf:{bert}", "hf:{bert}?layer=1,2"),
        ("hf:{bert}?layer=1,2", "hf:{bert}?layer=2,1"),
        ("hf:{bert}", "hf:{bert}?max_length=5"),
        ("hf:{bert}", "hf:{bert}?chunk=10"),
        ("hf:{bert}?chunk=10", "hf:{bert}?chunk=10&overlap=3"),
        ("hf:{bert}", "hf:{bert}?prefix=search: "),
        ("hf:{e5}", "hf:{e5}?prefix=query: "),
        ("hf:{e5}", "hf:{e5}?prefix=none"),
        ("st:{sentence}", "st:{sentence}?prompt=search: "),
        ("st:{sentence}", "st:{sentence}?chunk=10"),
        ("st:{sentence}?chunk=10", "st:{sentence}?chunk=10&overlap=3"),
        ("packaged:minilm", "packaged:minilm?chunk=8"),
        ("hf:{bert}", "hf:{bert}?weights=random"),
        ("hf:{bert}?weights=random", "hf:{bert}?weights=random&seed=1"),
        ("hf:{wav2vec2}", "hf:{wav2vec2}?window=0.5"),
        ("hf:{wav2vec2}?window=1", "hf:{wav2vec2}?window=1&hop=0.4"),
        ("hf:{clip}", "hf:{clip}?pooling=mean"),
        ("packaged:whisper-tiny-en", "packaged:whisper-tiny-en?window=1"),
        (
            "torchvision:squeezenet1_1?weights=random",
            "torchvision:squeezenet1_1?weights=random&seed=1",
        ),
        (
            "torchvision:squeezenet1_1?weights=random&layer=features.6",
            "torchvision:squeezenet1_1?weights=random&layer=features.6&pooling=max",
        ),
        (
            "torchvision:mobilenet_v2?weights=random",
            "torchvision:mobilenet_v2?weights=random&transforms=IMAGENET1K_V1",
        ),
        (
            "torchvision:squeezenet1_1?weights=random",
            "torchvision:squeezenet1_1?weights=random&layer=features.6",
        ),
        ("hf:{ast}", "hf:{ast}?pooling=mean"),
        ("timm:test_vit?weights=random", "timm:test_vit?weights=random&seed=1"),
        ("timm:test_vit?weights=random", "timm:test_vit?weights=random&layer=2"),
        ("timm:test_vit?weights=random&layer=2", "timm:test_vit?weights=random&layer=2,3"),
        (
            "timm:test_vit?weights=random&layer=2",
            "timm:test_vit?weights=random&layer=2&pooling=mean",
        ),
        (
            "torchvision:squeezenet1_1?weights=random&layer=features.6",
            "torchvision:squeezenet1_1?weights=random&layer=features.6,features.3",
        ),
        ("torchaudio:{speech}&layer=1", "torchaudio:{speech}&layer=2,1"),
        ("torchaudio:{speech}", "torchaudio:{speech}&layer=1"),
        ("torchaudio:{speech}", "torchaudio:{speech}&pooling=max"),
        ("torchaudio:{speech}", "torchaudio:{speech}&window=1"),
        ("torchaudio:{speech}&window=1", "torchaudio:{speech}&window=1&hop=0.3"),
        (
            "examples.custom_encoder:ColourHistogram",
            "examples.custom_encoder:ColourHistogram?bins=2",
        ),
    ],
)
def test_every_option_changes_vectors_and_fingerprint(template, other, tiny, load, encode, raws):
    folders = Folders(tiny)
    speech = tiny("speech")
    folders["speech"] = (
        f"wav2vec2_model?config={speech}/config.json&weights={speech}/weights.safetensors"
    )
    texts = ("{bert}", "{e5}", "{sentence}", "minilm")
    modality = "text" if any(name in template for name in texts) else "image"
    if any(name in template for name in ("wav2vec2", "whisper", "{ast}", "{speech}")):
        modality = "audio"
    first = load(template.format_map(folders), modality)
    second = load(other.format_map(folders), modality)

    assert first.fingerprint() != second.fingerprint()
    media = raws[modality][1:4]
    left, right = encode(first, media), encode(second, media)
    assert left.shape != right.shape or (left - right).abs().max() > 1e-3 * left.abs().max()


def test_fingerprint_and_vectors_are_the_same_after_loading_again(tiny, load, encode, raws):
    # The checkpoint lacks the pooler, which the library fills at random at every load.
    torch.manual_seed(1)
    first = load(f"hf:{tiny('bert')}", "text")
    torch.manual_seed(2)
    second = load(f"hf:{tiny('bert')}", "text")

    assert first.fingerprint() == second.fingerprint()
    assert torch.equal(encode(first, raws["text"]), encode(second, raws["text"]))
