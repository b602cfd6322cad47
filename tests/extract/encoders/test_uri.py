from urllib.error import URLError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extract.encoders.uri import EncoderURI, loading, parse_uri
from extract.errors import InputError


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("torchvision:resnet50", EncoderURI("torchvision", "resnet50")),
        ("melstats", EncoderURI("melstats", "64")),
        ("hf:openai/clip-vit-base-patch32", EncoderURI("hf", "openai/clip-vit-base-patch32")),
        ("hf:a/b@refs/pr/3", EncoderURI("hf", "a/b", "refs/pr/3")),
        ("timm:hf-hub:a/b@v1", EncoderURI("timm", "hf-hub:a/b", "v1")),
        ("hf:/data/a%40b/c%3Fd", EncoderURI("hf", "/data/a@b/c?d")),
        (
            "torchvision:resnet18?weights=a+b/w%26x.pth&layer=layer3",
            EncoderURI(
                "torchvision", "resnet18", None, {"weights": "a+b/w&x.pth", "layer": "layer3"}
            ),
        ),
        ("my_pkg.mod:Class?k=v=w", EncoderURI("my_pkg.mod", "Class", None, {"k": "v=w"})),
        (" st:x ", EncoderURI("st", "x")),
        # A space behind a prefix belongs to it; a line's end does not.
        (" hf:a?prefix=query: \n", EncoderURI("hf", "a", None, {"prefix": "query: "})),
        ("hf:a?prefix=query:%20", EncoderURI("hf", "a", None, {"prefix": "query: "})),
    ],
)
def test_parses(text, parsed):
    assert parse_uri(text) == parsed


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not an encoder URI"),
        ("resnet50", "write scheme:name[@revision][?key=value&...]"),
        ("hf:", "not an encoder URI"),
        (":x", "not an encoder URI"),
        ("1a:x", "not an encoder URI"),
        ("a..b:x", "not an encoder URI"),
        ("hf:@main", "is empty"),
        ("hf:a@", "is empty"),
        ("hf:a?pooling", "'pooling' is not key=value"),
        ("hf:a?pooling=", "'pooling=' is not key=value"),
        ("hf:a?=mean", "'=mean' is not key=value"),
        ("hf:a?layer=1&layer=2", "option 'layer' stands there twice"),
    ],
)
def test_refuses_in_one_line(text, words):
    with pytest.raises(InputError) as raised:
        parse_uri(text)
    assert words in str(raised.value)
    assert f"'{text}'" in str(raised.value)


WORD = st.text(st.characters(exclude_categories=("Cs", "Cc", "Zs")), min_size=1, max_size=12)


@given(WORD, st.none() | WORD, st.dictionaries(WORD, WORD, max_size=3))
def test_a_printed_uri_parses_to_itself(name, revision, options):
    uri = EncoderURI("hf", name, revision, options)
    assert parse_uri(str(uri)) == uri


@given(st.text(max_size=40))
def test_any_text_is_parsed_or_refused(text):
    try:
        parsed = parse_uri(text)
    except InputError:
        return
    assert parsed.scheme
    assert parsed.name


def test_unknown_options_and_revisions_are_refused_with_the_nearest():
    uri = parse_uri("hf:a@v1?poling=mean")
    with pytest.raises(InputError, match=r"unknown option 'poling' \(did you mean 'pooling'\?\)"):
        uri.expect("pooling", "layer", revision=True)
    with pytest.raises(InputError, match="take no options, so not 'poling'"):
        uri.expect()
    with pytest.raises(InputError, match=r"have no revisions; leave '@v1' out"):
        parse_uri("hf:a@v1").expect("pooling")


def test_options_as_values():
    uri = parse_uri("hf:a?layer=-2&window=1.5&pooling=mean")
    assert uri.integer("layer") == -2
    assert uri.seconds("window") == 1.5
    assert uri.choice("pooling", ("mean", "max")) == "mean"
    assert parse_uri("hf:a?layer=2 ").integer("layer") == 2
    assert parse_uri("hf:a?pooling=max ").choice("pooling", ("mean", "max")) == "max"
    assert parse_uri("hf:a?layer=4, b.c,-1").names("layer") == ("4", "b.c", "-1")
    assert uri.names("x") == ()
    assert uri.integer("x") is uri.seconds("x") is uri.choice("x", ("y",)) is None


@pytest.mark.parametrize("value", ["1.5", "two", "0x1", "1e3", "9" * 12])
def test_what_is_not_a_whole_number(value):
    with pytest.raises(InputError, match="not a whole number"):
        parse_uri(f"hf:a?layer={value}").integer("layer")


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "x", "4000"])
def test_what_is_not_a_duration(value):
    with pytest.raises(InputError, match="not a duration in seconds"):
        parse_uri(f"hf:a?window={value}").seconds("window")


@pytest.mark.parametrize(
    ("value", "words"),
    [("1,", "nothing before or behind a comma"), ("a,b,a", "'a' stands there twice")],
)
def test_what_are_not_names(value, words):
    with pytest.raises(InputError, match=words):
        parse_uri(f"hf:a?layer={value}").names("layer")


def test_what_is_not_a_choice():
    with pytest.raises(InputError, match=r"pooling=maen is unknown \(did you mean 'mean'\?\)"):
        parse_uri("hf:a?pooling=maen").choice("pooling", ("mean", "max"))


def test_a_library_that_fails_becomes_one_line():
    with pytest.raises(InputError) as raised, loading(parse_uri("hf:a")):
        raise OSError("no such\n\n   model " + "x" * 1000)
    assert str(raised.value).startswith("encoder hf:a: cannot be loaded (OSError: no such model xx")
    assert len(str(raised.value)) < 400
    with pytest.raises(InputError, match=r"^our own$"), loading(parse_uri("hf:a")):
        raise InputError("our own")


def test_what_a_library_prints_goes_to_standard_error(capsys):
    with loading(parse_uri("hf:a")):
        print("Downloading")
    assert capsys.readouterr() == ("", "Downloading\n")


def test_a_library_that_exits_or_colours_its_error():
    with pytest.raises(InputError, match=r"called sys\.exit\(0\)$"), loading(parse_uri("hf:a")):
        raise SystemExit(0)
    with pytest.raises(InputError) as raised, loading(parse_uri("hf:a")):
        raise OSError("\x1b[31mred\x1b[0m")
    assert str(raised.value).isprintable()


def test_a_download_without_a_network_says_what_works():
    with pytest.raises(InputError) as raised, loading(parse_uri("torchvision:a")):
        raise URLError("Name or service not known")
    assert "without a network use ?weights=FILE or packaged:NAME" in str(raised.value)
