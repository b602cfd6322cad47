"""Every family of encoders, each through the same rules."""

import json

import pytest
import torch

FAMILIES = [
    ("packaged:efficientnet-lite0", "image"),
    ("packaged:minilm", "text"),
    ("packaged:whisper-tiny-en?window=1", "audio"),
    ("melstats:64", "audio"),
    ("examples.custom_encoder:ColourHistogram", "image"),
    ("torchvision:squeezenet1_1?weights={squeezenet}/weights.pth&sha256={digest}", "image"),
    ("torchvision:shufflenet_v2_x0_5?weights=random", "image"),
    ("torchvision:squeezenet1_1?weights=random&layer=features.3&pooling=max", "image"),
    ("timm:test_resnet?weights={timm_resnet}/weights.safetensors", "image"),
    ("timm:test_vit?weights=random&seed=3", "image"),
    ("hf:{vit}", "image"),
    ("hf:{dinov2}?layer=1", "image"),
    ("hf:{convnext}", "image"),
    ("hf:{clip}", "image"),
    ("hf:{siglip}", "image"),
    ("hf:{bert}", "text"),
    ("hf:{bert}?pooling=max&layer=-2", "text"),
    ("hf:{roberta}?pooling=cls", "text"),
    ("hf:{gpt2}", "text"),
    ("hf:{t5}", "text"),
    ("hf:{clip}", "text"),
    ("hf:{clip}?pooling=last", "text"),
    ("hf:{siglip}", "text"),
    ("hf:{clap}", "text"),
    ("hf:{wav2vec2}?window=1&hop=0.5", "audio"),
    ("hf:{wav2vec2_layer_norm}", "audio"),
    ("hf:{whisper}", "audio"),
    ("hf:{ast}", "audio"),
    ("hf:{clap}", "audio"),
    ("st:{sentence}", "text"),
    (
        "torchaudio:wav2vec2_model?config={speech}/config.json"
        "&weights={speech}/weights.safetensors&window=1&layer=1",
        "audio",
    ),
]


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
def test_rules_of_the_contract(template, modality, tiny, load, encode, raws):
    encoder = load(template.format_map(Folders(tiny)), modality)
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
    assert json.loads(json.dumps(encoder.fingerprint())) == encoder.fingerprint()
    assert encoder.space


@pytest.mark.parametrize(
    ("template", "modality"),
    [(u, m) for u, m in FAMILIES if u.startswith(("torch", "timm", "hf", "st"))],
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
        ("hf:{bert}", "hf:{bert}?max_length=5"),
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
    modality = "text" if "{bert}" in template else "image"
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
