import pytest
import torch

from extract.encoders.layers import Layers, layer_numbers, recorded, refuse_repeated
from extract.encoders.uri import parse_uri
from extract.errors import InputError


def test_layers_stand_side_by_side_in_the_order_of_their_names():
    layers = Layers(["b", "a"])
    wide, narrow = torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([[5.0], [6.0]])
    assert layers.join([wide, narrow]).tolist() == [[1, 2, 5], [3, 4, 6]]
    assert layers.describe() == {"layers": [["b", 2], ["a", 1]]}


@pytest.mark.parametrize("names", [[], ["a"]])
def test_one_layer_needs_no_list(names):
    layers = Layers(names)
    vectors = torch.rand(2, 3)
    assert layers.join([vectors]) is vectors
    assert layers.describe() == {}


def test_numbers():
    assert layer_numbers(parse_uri("hf:a?layer=3,-1,+2")) == (3, -1, 2)
    assert layer_numbers(parse_uri("hf:a")) == ()
    assert [recorded(n) for n in ((), (3,), (3, -1))] == [None, 3, [3, -1]]
    with pytest.raises(InputError, match=r"option layer=1\.5 is not a whole number"):
        layer_numbers(parse_uri("hf:a?layer=2,1.5"))


def test_two_numbers_of_one_layer():
    uri = parse_uri("hf:a?layer=2,0,-1")
    refuse_repeated(uri, (2, 0), (2, 0))
    with pytest.raises(InputError, match="2 and -1 are the same layer"):
        refuse_repeated(uri, (2, 0, -1), (2, 0, 2))
