"""What of the encoders that a model names is loaded without a person's word."""

import pytest

from extract.errors import InputError
from mmssl.recommend.model_encoders import obstacle


@pytest.mark.parametrize(
    ("recorded", "why"),
    [
        (None, "made elsewhere"),
        ("melstats:64 + pca:8", "transformed"),
        ("shop.encoders:Colour", "own code"),
        ("shop.encoders:Colour + l2", "transformed"),
        ("melstats:64", None),
        ("hf:owner/name@main", None),
        ("plugin:colour", None),
    ],
)
def test_only_built_in_and_installed_encoders_are_taken_as_a_model_names_them(recorded, why):
    assert obstacle(recorded) == why


def test_what_is_no_encoder_uri_is_refused():
    with pytest.raises(InputError, match="nonsense"):
        obstacle("nonsense")
