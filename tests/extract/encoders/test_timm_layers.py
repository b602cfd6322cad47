import pytest
import torch

from extract.errors import InputError


@pytest.fixture
def pixels():
    return torch.rand(2, 3, 160, 160, generator=torch.Generator().manual_seed(3))


def encoder_of(load, name, query):
    return load(f"timm:{name}?weights=random&{query}", "image")


def vectors(encoder, pixels):
    with torch.inference_mode():
        return encoder.encode(list(pixels))


@pytest.mark.parametrize(
    "name", ["test_resnet", "test_efficientnet", "test_convnext", "test_nfnet", "test_maxvit"]
)
def test_numbered_layers_of_a_convolutional_network_are_timms_maps(name, load, pixels):
    encoder = encoder_of(load, name, "layer=-1,1")
    body = encoder.model.body
    with torch.inference_mode():
        maps = body.forward_intermediates(pixels, intermediates_only=True)
    expected = torch.cat([maps[-1].mean((2, 3)), maps[1].mean((2, 3))], dim=1)
    torch.testing.assert_close(vectors(encoder, pixels), expected, rtol=1e-5, atol=1e-6)
    widths = [["-1", maps[-1].shape[1]], ["1", maps[1].shape[1]]]
    assert encoder.fingerprint()["layers"] == widths
    top = encoder_of(load, name, "layer=1&pooling=max")
    torch.testing.assert_close(vectors(top, pixels), maps[1].amax((2, 3)))


@pytest.mark.parametrize("pooling", ["", "mean", "max", "cls"])
def test_a_vision_transformers_blocks_by_number_and_by_name(pooling, load, pixels):
    query = f"&pooling={pooling}" if pooling else ""
    numbered = encoder_of(load, "test_vit", f"layer=4,1{query}")
    body = numbered.model.body
    caught = {}
    for block in (1, 4):
        body.blocks[block].register_forward_hook(
            lambda module, inputs, output, block=block: caught.__setitem__(block, output)
        )
    with torch.inference_mode():
        body(pixels)
    read = {
        "": lambda tokens: tokens[:, 0],
        "cls": lambda tokens: tokens[:, 0],
        "mean": lambda tokens: tokens[:, 1:].mean(1),
        "max": lambda tokens: tokens[:, 1:].amax(1),
    }[pooling]
    expected = torch.cat([read(caught[4]), read(caught[1])], dim=1)
    torch.testing.assert_close(vectors(numbered, pixels), expected, rtol=1e-5, atol=1e-6)
    named = encoder_of(load, "test_vit", f"layer=blocks.4,blocks.1{query}")
    torch.testing.assert_close(vectors(named, pixels), expected, rtol=1e-5, atol=1e-6)
    assert named.fingerprint()["layers"] == [["blocks.4", 64], ["blocks.1", 64]]


def test_a_network_without_a_class_token_gives_the_mean(load, pixels):
    encoder = encoder_of(load, "test_vit_relpos", "layer=2")
    with torch.inference_mode():
        tokens = encoder.model.body.forward_intermediates(
            pixels, indices=[2], output_fmt="NLC", intermediates_only=True
        )[0]
    torch.testing.assert_close(vectors(encoder, pixels), tokens.mean(1))
    with pytest.raises(InputError, match="pooling=cls: layer '2' gives no class token"):
        encoder_of(load, "test_vit_relpos", "layer=2&pooling=cls")


def test_blocks_behind_the_deepest_layer_are_not_run(load, pixels):
    encoder = encoder_of(load, "test_vit", "layer=1")
    ran = []
    for i, block in enumerate(encoder.model.body.blocks):
        block.register_forward_hook(lambda module, inputs, output, i=i: ran.append(i))
    vectors(encoder, pixels)
    assert ran == [0, 1]


def test_named_layers_of_any_shape(load, pixels):
    # Patches before the class token joins them, with their channels last; and flat vectors.
    patches = encoder_of(load, "test_vit", "layer=patch_embed&pooling=mean")
    with torch.inference_mode():
        maps = patches.model.body.patch_embed(pixels)
    assert maps.shape == (2, 10, 10, 64)
    torch.testing.assert_close(vectors(patches, pixels), maps.mean((1, 2)))

    flat = encoder_of(load, "test_resnet", "layer=global_pool")
    assert vectors(flat, pixels).shape == (2, flat.dim)
    plain = load("timm:test_resnet?weights=random", "image")
    torch.testing.assert_close(vectors(flat, pixels), vectors(plain, pixels))


def test_swins_maps_have_their_channels_last(load):
    encoder = encoder_of(load, "swin_tiny_patch4_window7_224", "layer=layers.0")
    pixels = torch.rand(1, 3, 224, 224)
    with torch.inference_mode():
        maps = encoder.model.body.forward_intermediates(
            pixels, indices=[0], intermediates_only=True
        )[0]
    assert encoder.dim == maps.shape[1] == 96
    torch.testing.assert_close(vectors(encoder, pixels), maps.mean((2, 3)), rtol=1e-4, atol=1e-5)


def test_a_later_layer_that_works_in_place_changes_nothing(load, pixels):
    encoder = encoder_of(load, "test_resnet", "layer=bn1&pooling=mean")
    body = encoder.model.body
    with torch.inference_mode():
        before = body.bn1(body.conv1(pixels))
    assert before.min() < 0  # the ReLU behind it works in place
    assert body.act1.inplace
    torch.testing.assert_close(vectors(encoder, pixels), before.mean((2, 3)))


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("layer=6", "layer=6: the network has layers 0 to 5"),
        ("layer=-7", "layer=-7: the network has layers 0 to 5"),
        ("layer=5,-1", "5 and -1 are the same layer"),
        ("layer=1,blocks.2", "give numbers or names, not both"),
        ("layer=block.2", "no layer 'block.2' (did you mean 'blocks.2'?)"),
        ("layer=1&pooling=last", "pooling=last is unknown"),
        ("layer=1,,2", "nothing before or behind a comma"),
        ("layer=head_drop.x", "no layer 'head_drop.x'"),
    ],
)
def test_refuses_in_one_line(query, words, load):
    with pytest.raises(InputError) as raised:
        encoder_of(load, "test_vit", query)
    assert words in str(raised.value)
    assert len(str(raised.value)) < 400
