import sys

import numpy as np
import pytest
import torch
from PIL import Image

from extract.encoders.registry import encoder_modalities
from extract.errors import InputError

GOOD = """
import torch
from extract import Encoder
from {package}.helper import FACTOR

class Length(Encoder):
    \"\"\"Counts characters.\"\"\"
    modalities = ("text",)
    dim = 1
    space = "length"
    def __init__(self, factor=FACTOR):
        self.factor = float(factor)
    def preprocess(self, raw):
        return len(raw) * self.factor
    def encode(self, batch):
        return torch.tensor([[value] for value in batch])
    def fingerprint(self):
        return {{"factor": self.factor}}

class Unfinished(Encoder):
    modalities = ("text",)
    dim = 1

class Nameless(Length):
    def __init__(self):
        super().__init__()
    space = property()

class Broken(Length):
    def __init__(self):
        raise ValueError("no licence\\nfor you")

class NotAnEncoder:
    pass
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package in a working folder that is not on ``sys.path``; each test has its own name."""
    name = f"mine_{abs(hash(tmp_path)) % 10**9}"
    folder = tmp_path / "work" / name
    folder.mkdir(parents=True)
    (folder / "helper.py").write_text("FACTOR = 2")
    (folder / "encoders.py").write_text(GOOD.format(package=name))
    (folder / "syntax.py").write_text("def f(:\n")
    (folder / "imports.py").write_text("import no_such_library")
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p not in ("", str(tmp_path))])
    return name


def test_a_class_of_the_working_folder_encodes(package, load, encode):
    before = list(sys.path)
    encoder = load(f"{package}.encoders:Length", "text")
    assert encode(encoder, ["a", "abc"]).tolist() == [[2.0], [6.0]]
    assert sys.path == before
    assert encode(load(f"{package}.encoders:Length?factor=0.5", "text"), ["ab"]).tolist() == [[1.0]]


def test_a_model_folder_never_makes_us_import(package, load):
    with pytest.raises(InputError, match="a class is imported only when a person names it"):
        load(f"{package}.encoders:Length", "text", trusted=False)
    assert f"{package}.encoders" not in sys.modules


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("{package}.encoders:Lenght", "has no class 'Lenght' (did you mean 'Length'?)"),
        ("{package}.encoders:NotAnEncoder", "is not a subclass of extract.Encoder"),
        ("{package}.encoders:FACTOR", "is not a subclass of extract.Encoder"),
        ("{package}.encoders:Unfinished", "the class lacks encode, fingerprint, preprocess()"),
        ("{package}.encoders:Nameless", "the class lacks the attribute 'space'"),
        ("{package}.encoders:Broken", "cannot be loaded (ValueError: no licence for you)"),
        ("{package}.encoders:Length?size=3", "unexpected keyword argument 'size'"),
        ("{package}.encoders:Length?factor=x", "cannot be loaded (ValueError: could not convert"),
        ("{package}.encoders:Length@v1", "has no revisions"),
        ("{package}.nothing:Length", "neither an encoder scheme nor a module"),
        ("{package}.syntax:Length", "cannot be loaded (SyntaxError"),
        ("{package}.imports:Length", "cannot be loaded (ModuleNotFoundError: No module named 'no_"),
        ("torchvison:resnet18", "did you mean 'torchvision'?"),
        ("nowhere.at.all:Length", "neither an encoder scheme nor a module"),
    ],
)
def test_refuses_in_one_line(uri, words, package, load):
    with pytest.raises(InputError) as raised:
        load(uri.format(package=package), "text")
    assert words in " ".join(str(raised.value).split())


def test_a_class_for_another_modality(package, load):
    with pytest.raises(InputError, match="it encodes text, not image"):
        load(f"{package}.encoders:Length", "image")


@pytest.mark.parametrize("bins", [4, 3])
def test_the_example_counts_colours(bins, load, encode, raws):
    expected = []
    for picture in raws["image"]:
        hsv = np.asarray(picture.convert("HSV")).reshape(-1, 3).astype(int)
        counts = np.zeros((bins, bins, bins))
        for hue, saturation, value in hsv * bins // 256:
            counts[hue, saturation, value] += 1
        expected.append(counts.ravel() / len(hsv))

    encoder = load(f"examples.custom_encoder:ColourHistogram?bins={bins}", "image")

    assert encoder.dim == bins**3
    np.testing.assert_allclose(encode(encoder, raws["image"]), np.stack(expected), atol=1e-6)


def test_the_example_tells_a_red_picture_from_a_blue_one(load, encode):
    colours = ("red", "darkred", "blue")
    red, dark, blue = encode(
        load("examples.custom_encoder:ColourHistogram", "image"),
        [Image.new("RGB", (20, 10), colour) for colour in colours],
    )
    assert red.max() == dark.max() == blue.max() == 1.0
    assert len({int(torch.argmax(vector)) for vector in (red, dark, blue)}) == 3


BODY = (
    "    def preprocess(self, raw): return raw\n"
    "    def encode(self, batch): return torch.ones(len(batch), 1)\n"
    "    def fingerprint(self): return {'x': 1}\n"
)


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Writes a module of a class ``Own`` into the working folder; gives the class's URI."""
    written = []

    def write(name, lines, head=""):
        (tmp_path / f"{name}.py").write_text(
            f"import torch\nfrom extract import Encoder\n{head}class Own(Encoder):\n"
            + "".join(f"    {line}\n" for line in lines)
            + BODY
        )
        written.append(name)
        return f"{name}:Own"

    monkeypatch.chdir(tmp_path)
    yield write
    for name in written:
        sys.modules.pop(name, None)


PLAIN = ["modalities, dim, space = ('text',), 1, 'x'"]


@pytest.mark.parametrize(
    ("name", "lines", "head"),
    [
        ("exits_on_import", PLAIN, "import sys\nsys.exit(0)\n"),
        ("exits_when_made", [*PLAIN, "def __init__(self): raise SystemExit(0)"], ""),
    ],
)
def test_an_encoder_that_exits_is_an_error(name, lines, head, own, load):
    with pytest.raises(InputError, match=r"its code called sys\.exit\(0\)"):
        load(own(name, lines, head), "text")


def test_a_constructor_may_import_its_neighbours(own, load, tmp_path):
    (tmp_path / "neighbour_of_own.py").write_text("width = 1\n")
    uri = own(
        "imports_late",
        [*PLAIN, "def __init__(self):", "    from neighbour_of_own import width; self.dim = width"],
    )
    assert load(uri, "text").dim == 1
    assert encoder_modalities(uri) == ("text",)
    sys.modules.pop("neighbour_of_own")


def test_modalities_may_be_set_by_the_constructor(own, load):
    uri = own(
        "sets_late",
        ["def __init__(self):", "    self.modalities, self.dim, self.space = ('text',), 1, 'x'"],
    )
    assert encoder_modalities(uri) == ("text",)
    assert load(uri, "text").dim == 1


@pytest.mark.parametrize("given", ["()", "None", "'text'", "('smell',)", "5"])
def test_modalities_that_are_none_of_ours(given, own, load):
    name = f"takes_{abs(hash(given))}"
    uri = own(name, [f"modalities, dim, space = {given}, 1, 'x'"])
    for look in (encoder_modalities, lambda text: load(text, "text")):
        with pytest.raises(InputError, match="its modalities must be a tuple of some of image"):
            look(uri)
