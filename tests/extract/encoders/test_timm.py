import sys

import pytest
import timm
import torch
from safetensors.torch import load_file

from extract.errors import InputError


def test_vectors_equal_timms_own(tiny, load, encode, raws):
    path = tiny("timm_resnet") / "weights.safetensors"
    model = timm.create_model("test_resnet", num_classes=0).eval()
    model.load_state_dict({k: v for k, v in load_file(path).items() if not k.startswith("fc.")})
    config = timm.data.resolve_data_config({}, model=model)
    transform = timm.data.create_transform(**config, is_training=False)
    with torch.inference_mode():
        expected = model(torch.stack([transform(picture) for picture in raws["image"]]))

    encoder = load(f"timm:test_resnet?weights={path}", "image")

    assert encoder.dim == expected.shape[1]
    torch.testing.assert_close(encode(encoder, raws["image"]), expected, rtol=0, atol=1e-5)
    assert "Resize(size=168" in encoder.fingerprint()["preprocessing"]


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("timm:resnet18x", "no such network (did you mean 'resnet18"),
        ("timm:test_vit?layers=1", "unknown option 'layers' (did you mean 'layer'?)"),
        ("timm:test_vit?pooling=max", "pooling= needs layer="),
        ("timm:test_vit?weights=DEFAULT", "weights=DEFAULT is unknown (valid: random,"),
        ("timm:test_vit@v2", "have no revisions"),
        ("timm:test_vit.nothing", "cannot be loaded"),
        ("timm:hf-hub:nobody/nothing", "cannot be loaded"),
    ],
)
def test_refuses_in_one_line(uri, words, load):
    with pytest.raises(InputError) as raised:
        load(uri, "image")
    assert words in str(raised.value)


def test_weights_of_another_network_are_refused(tiny, load):
    path = tiny("timm_resnet") / "weights.safetensors"
    with pytest.raises(InputError, match=r"lacks \d+ tensors"):
        load(f"timm:test_vit?weights={path}", "image")


def test_a_missing_library_names_its_extra(monkeypatch, load):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(InputError) as raised:
        load("timm:test_vit", "image")
    assert str(raised.value) == (
        "encoder timm:test_vit needs the extra 'timm': run  pip install 'mmssl-toolkit[timm]'"
    )
