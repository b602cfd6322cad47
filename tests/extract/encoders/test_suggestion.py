import subprocess
import sys
from importlib.util import find_spec

import pytest
import torchvision

from extract.encoders.suggestion import meant
from extract.encoders.uri import parse_uri
from extract.errors import InputError

needs_timm = pytest.mark.skipif(find_spec("timm") is None, reason="timm is not installed")


@pytest.mark.parametrize(
    ("text", "uri"),
    [
        ("resnet50", "torchvision:resnet50"),
        (" ResNet50?layer=layer3 ", "torchvision:resnet50?layer=layer3"),
        ("minilm", "packaged:minilm"),
        ("openai/clip-vit-base-patch32@main", "hf:openai/clip-vit-base-patch32@main"),
        ("sentence-transformers/all-MiniLM-L6-v2", "st:sentence-transformers/all-MiniLM-L6-v2"),
        ("timm/resnet50.a1_in1k", "timm:resnet50.a1_in1k"),
        pytest.param(
            "vit_small_patch14_dinov2.lvd142m",
            "timm:vit_small_patch14_dinov2.lvd142m",
            marks=needs_timm,
        ),
        ("", None),
        ("no-such-model", None),
        ("./models/mine", None),
        ("resnet50 or so", None),
    ],
)
def test_what_was_meant(text, uri):
    assert meant(text) == uri
    with pytest.raises(InputError) as refusal:
        parse_uri(text)
    example = "as in packaged:minilm or torchvision:resnet50"
    assert f"(did you mean '{uri}'?)" in str(refusal.value) or uri is None
    assert str(refusal.value).endswith(example) == (uri is None)
    if uri is not None:
        assert parse_uri(uri).scheme == uri.partition(":")[0]


def test_every_network_of_torchvision_is_found():
    networks = torchvision.models.list_models(module=torchvision.models)
    assert [meant(name) for name in networks] == [f"torchvision:{name}" for name in networks]


def test_neither_library_is_imported():
    program = (
        "import sys\n"
        "from extract.encoders.suggestion import meant\n"
        "assert meant('resnet50') == 'torchvision:resnet50' and meant('nothing') is None\n"
        "print(sorted({'torchvision', 'timm'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout == "[]\n"
