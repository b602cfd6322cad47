import pytest

from extract.encoders.prefix import prefix_from, usual_prefix
from extract.encoders.uri import parse_uri


@pytest.mark.parametrize(
    ("name", "prefix"),
    [
        ("intfloat/e5-small-v2", "passage: "),
        ("intfloat/multilingual-e5-large", "passage: "),
        ("somebody/My-E5-Base", "passage: "),
        # Instruction-tuned ones take passages as they are, by their model cards.
        ("intfloat/multilingual-e5-large-instruct", ""),
        ("intfloat/e5-mistral-7b-instruct", ""),
        ("google-bert/bert-base-uncased", ""),
        ("e5-small/other-model", ""),
        ("somebody/code5-small", ""),
    ],
)
def test_the_usual_prefix_goes_by_the_models_name(name, prefix):
    assert usual_prefix(parse_uri(f"hf:{name}")) == prefix


def test_a_prefix_is_ones_own_or_none():
    assert prefix_from(parse_uri("hf:x/e5-small?prefix=query: ")) == "query: "
    assert prefix_from(parse_uri("hf:x/e5-small?prefix=none")) == ""
    assert prefix_from(parse_uri("hf:x/e5-small")) == "passage: "
    assert prefix_from(parse_uri("hf:x/bert")) == ""


def test_a_local_folder_counts_by_its_own_name(tmp_path):
    folder = tmp_path / "multilingual-e5-small"
    folder.mkdir()
    assert usual_prefix(parse_uri(f"hf:{folder}")) == "passage: "
    (tmp_path / "e5-small" / "mine").mkdir(parents=True)
    assert usual_prefix(parse_uri(f"st:{tmp_path}/e5-small/mine")) == ""
