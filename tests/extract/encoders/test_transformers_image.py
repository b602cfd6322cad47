import pytest
import torch
from transformers import AutoImageProcessor, AutoModel


def direct(folder, pictures, read):
    """The library alone: processor and model, picture by picture."""
    model = AutoModel.from_pretrained(folder).eval()
    processor = AutoImageProcessor.from_pretrained(folder)
    with torch.inference_mode():
        rows = [read(model, processor(images=p, return_tensors="pt")) for p in pictures]
    return torch.cat(rows)


@pytest.mark.parametrize(
    ("name", "query", "read"),
    [
        ("vit", "", lambda m, x: m(**x).last_hidden_state[:, 0]),
        ("vit", "?pooling=mean", lambda m, x: m(**x).last_hidden_state.mean(1)),
        ("vit", "?pooling=max", lambda m, x: m(**x).last_hidden_state.amax(1)),
        (
            "vit",
            "?layer=1",
            lambda m, x: m(**x, output_hidden_states=True).hidden_states[1][:, 0],
        ),
        (
            "vit",
            "?layer=-1,0&pooling=mean",
            lambda m, x: torch.cat(
                [m(**x, output_hidden_states=True).hidden_states[i].mean(1) for i in (2, 0)],
                dim=1,
            ),
        ),
        ("dinov3", "", lambda m, x: m(**x).last_hidden_state[:, 0]),
        ("dinov3", "?pooling=pooler", lambda m, x: m(**x).pooler_output),
        ("dinov2", "", lambda m, x: m(**x).last_hidden_state[:, 0]),
        ("dinov2", "?pooling=pooler", lambda m, x: m(**x).pooler_output),
        ("convnext", "", lambda m, x: m(**x).pooler_output),
        ("convnext", "?pooling=mean", lambda m, x: m(**x).last_hidden_state.mean((2, 3))),
        (
            "convnext",
            "?layer=2",
            lambda m, x: m(**x, output_hidden_states=True).hidden_states[2].mean((2, 3)),
        ),
        ("clip", "", lambda m, x: m.get_image_features(**x).pooler_output),
        ("clip", "?pooling=cls", lambda m, x: m.vision_model(**x).last_hidden_state[:, 0]),
        ("siglip", "", lambda m, x: m.get_image_features(**x).pooler_output),
        ("siglip2", "", lambda m, x: m.get_image_features(**x).pooler_output),
        # Of the patches that stand for nothing none counts.
        (
            "siglip2",
            "?pooling=mean",
            lambda m, x: (
                m.vision_model(**x)
                .last_hidden_state[:, : int(x["pixel_attention_mask"].sum())]
                .mean(1)
            ),
        ),
    ],
)
def test_vectors_equal_the_librarys(name, query, read, tiny, load, encode, raws):
    folder = tiny(name)
    expected = direct(folder, raws["image"], read)

    encoder = load(f"hf:{folder}{query}", "image")

    assert encoder.dim == expected.shape[1]
    torch.testing.assert_close(encode(encoder, raws["image"]), expected, rtol=0, atol=1e-5)


def test_several_layers_of_unlike_widths_are_named_in_the_fingerprint(tiny, load):
    encoder = load(f"hf:{tiny('convnext')}?layer=1,-1", "image")
    assert encoder.fingerprint()["layer"] == [1, -1]
    assert encoder.fingerprint()["layers"] == [["1", 8], ["-1", 32]]
    assert encoder.dim == 40
    single = load(f"hf:{tiny('convnext')}?layer=1", "image").fingerprint()
    assert single["layer"] == 1
    assert "layers" not in single


def test_pictures_that_keep_their_own_size_are_encoded_too(tiny, load, encode, raws, tmp_path):
    import json
    import shutil

    folder = tmp_path / "model"
    shutil.copytree(tiny("convnext"), folder)
    settings = json.loads((folder / "preprocessor_config.json").read_text())
    (folder / "preprocessor_config.json").write_text(json.dumps(settings | {"do_resize": False}))
    widths = (64, 96, 64, 32, 96)
    pictures = [picture.resize((w, 64)) for picture, w in zip(raws["image"], widths, strict=True)]
    expected = direct(folder, pictures, lambda m, x: m(**x).pooler_output)
    vectors = encode(load(f"hf:{folder}", "image"), pictures)
    torch.testing.assert_close(vectors, expected, rtol=0, atol=1e-5)


def test_the_fingerprint_says_how_pictures_are_prepared(tiny, load):
    fingerprint = load(f"hf:{tiny('vit')}", "image").fingerprint()
    assert fingerprint["preprocessing"]["size"] == {"height": 32, "width": 32}
    assert fingerprint["pooling"] == "cls"
    assert len(fingerprint["weights"]) == 64
