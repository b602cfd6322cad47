import re
import sys

import pytest
import torch

from extract.encoders.base import MODALITIES
from extract.encoders.registry import (
    SCHEMES,
    default_encoder,
    encoder_modalities,
    install_hint,
    list_encoders,
    load_encoder,
)
from extract.encoders.uri import parse_uri
from extract.errors import InputError


@pytest.fixture
def plugins(tmp_path, monkeypatch):
    """An installed distribution that offers an encoder and something that is none."""
    (tmp_path / "acme_encoders.py").write_text(
        "import torch\n"
        "from extract import Encoder\n"
        "class Words(Encoder):\n"
        '    """Counts words."""\n'
        "    modalities = ('text',)\n"
        "    dim, space = 1, 'words'\n"
        "    def __init__(self, per='1'): self.per = int(per)\n"
        "    def preprocess(self, raw): return len(raw.split()) / self.per\n"
        "    def encode(self, batch): return torch.tensor([[value] for value in batch])\n"
        "    def fingerprint(self): return {'per': self.per}\n"
        "number = 3\n"
    )
    info = tmp_path / "acme-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
    entry = info / "entry_points.txt"
    entry.write_text("[mmssl.encoders]\nacme-words = acme_encoders:Words\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield entry
    sys.modules.pop("acme_encoders", None)


def test_a_plug_in_loads_also_where_nobody_typed_it(plugins, load, encode):
    encoder = load("plugin:acme-words?per=2", "text", trusted=False)
    assert encode(encoder, ["three small words"]).tolist() == [[1.5]]
    assert encoder_modalities("plugin:acme-words") == ("text",)
    [info] = list_encoders("text", "plugin:")
    assert (info.uri, info.about) == ("plugin:acme-words", "Counts words.")


def test_plug_ins_that_are_not_there_or_are_none(plugins, load):
    with pytest.raises(
        InputError, match=r"no such|offers such a plug-in \(did you mean 'acme-words'"
    ):
        load("plugin:acme-word", "text")
    plugins.write_text("[mmssl.encoders]\nbad = acme_encoders:number\n")
    with pytest.raises(InputError, match="acme_encoders:number is not a subclass"):
        load("plugin:bad", "text")
    plugins.write_text("[mmssl.encoders]\nbad = acme_encoders:nothing\n")
    with pytest.raises(InputError, match="cannot be loaded"):
        load("plugin:bad", "text")
    # It is listed with what is wrong, and hides nothing else.
    assert "cannot be loaded" in list_encoders("text", "plugin:bad")[0].about
    assert len(list_encoders("text")) > 3


def test_a_plug_in_that_names_its_modalities_late_is_listed(plugins, tmp_path):
    (tmp_path / "acme_encoders.py").write_text(
        "from extract import Encoder\nclass Late(Encoder):\n    pass\n"
    )
    plugins.write_text("[mmssl.encoders]\nlate = acme_encoders:Late\n")
    [info] = list_encoders(None, "plugin:")
    assert (info.uri, info.modalities) == ("plugin:late", MODALITIES)


def test_without_plug_ins(load):
    with pytest.raises(InputError, match=r"\(none is installed\)"):
        load("plugin:acme", "text")


@pytest.mark.parametrize("modality", MODALITIES)
def test_the_default_of_each_modality_is_packaged_and_listed(modality):
    uri = default_encoder(modality)
    assert uri.startswith("packaged:")
    assert uri in [info.uri for info in list_encoders(modality)]
    # A video's frames are pictures.
    assert encoder_modalities(uri) == ("image" if modality == "video" else modality,)


def test_every_listed_uri_parses_to_what_it_says():
    infos = list_encoders()
    assert len({info.uri for info in infos}) == len(infos) > 100
    for info in infos:
        assert str(parse_uri(info.uri)) == info.uri
        assert set(info.modalities) <= set(MODALITIES)
        assert info.about
        if not info.uri.startswith("hf:"):
            assert encoder_modalities(info.uri) == info.modalities


def test_the_list_is_filtered_by_modality_and_pattern():
    assert {info.uri for info in list_encoders(pattern="*resnet1*")} >= {
        "torchvision:resnet18",
        "torchvision:resnet101",
    }
    assert all("swin" in info.uri for info in list_encoders(pattern="swin"))
    assert list_encoders(pattern="RESNET50") == list_encoders(pattern="resnet50") != []
    assert list_encoders("text", "torchvision") == []
    shared = [info for info in list_encoders("text") if "image" in info.modalities]
    assert "hf:openai/clip-vit-base-patch32" in [info.uri for info in shared]


def test_what_to_install():
    assert install_hint("timm:x") == "pip install 'mmssl-toolkit[timm]'"
    assert install_hint("packaged:minilm") == "pip install 'mmssl-toolkit[packaged]'"
    assert install_hint("torchvision:resnet18") == "comes with mmssl-toolkit"
    assert install_hint("examples.custom_encoder:ColourHistogram") == "your own class"


def test_an_encoder_arrives_on_the_device_and_in_the_dtype():
    encoder = load_encoder(
        "timm:test_vit?weights=random", "image", device=torch.device("meta"), dtype=torch.float16
    )
    parameters = list(encoder.model.parameters())
    assert {(p.device.type, p.dtype) for p in parameters} == {("meta", torch.float16)}


@pytest.mark.parametrize(
    ("uri", "modality", "how"),
    [
        ("timm:foo", "image", "timm.list_models()"),
        ("torchvision:zzz", "image", "see all: encoders list torchvision"),
        ("torchaudio:zzz", "audio", "see all: encoders list torchaudio"),
        ("torchvision:resnet18?weights=random&layer=zzz", "image", "layer3"),
    ],
)
def test_unknown_names_are_answered_in_a_short_line(uri, modality, how, load):
    with pytest.raises(InputError) as raised:
        load(uri, modality)
    assert how in str(raised.value)
    assert len(str(raised.value)) < 600


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("torchvision:resnet18?seed=3", "seed= needs weights=random"),
        ("torchvision:resnet18?weights=random&sha256=00000000", "sha256= needs weights=FILE"),
        ("torchvision:resnet18?transforms=DEFAULT", "transforms= needs weights=FILE"),
        ("timm:test_vit?seed=3", "seed= needs weights=random"),
        ("timm:test_vit?weights=random&sha256=00000000", "sha256= needs weights=FILE"),
        ("hf:x/y?seed=3", "seed= needs weights=random"),
    ],
)
def test_options_that_would_do_nothing_are_refused(uri, words, load):
    with pytest.raises(InputError) as raised:
        load(uri, "image")
    assert words in str(raised.value)


@pytest.mark.parametrize(
    ("uri", "modalities"),
    [
        ("torchvision:resnet18", ["image"]),
        ("timm:test_vit", ["image"]),
        ("torchaudio:WAV2VEC2_BASE", ["audio"]),
        ("packaged:minilm packaged:whisper-tiny-en", ["text", "audio"]),
        ("st:x/y", ["text"]),
        ("hf:x/y", ["image", "text", "audio"]),
    ],
)
def test_the_options_that_are_shown_are_those_that_are_taken(uri, modalities, load):
    taken = set()
    names = uri.split()
    for i, modality in enumerate(modalities):
        with pytest.raises(InputError, match="unknown option '0000'") as raised:
            load(f"{names[i % len(names)]}?0000=1", modality)
        taken |= set(re.search(r"\(valid: (.*)\)", str(raised.value))[1].split(", "))
    shown = SCHEMES[uri.partition(":")[0]].options
    assert set(re.findall(r"(\w+)=", shown)) == taken
