import pytest
import torch
from torchvision import models
from torchvision.transforms._presets import ImageClassification

from extract.encoders.torchvision import InnerLayers, cut_head, names
from extract.encoders.uri import parse_uri
from extract.errors import InputError
from extract.files import sha256_file


@pytest.fixture
def saved(tmp_path):
    """A network of torchvision's with random weights, and the URI of its saved state dict."""

    def make(name, **options):
        torch.manual_seed(11)
        model = models.get_model(name, weights=None, **options).eval()
        path = tmp_path / f"{name}.pth"
        torch.save(model.state_dict(), path)
        return model, f"torchvision:{name}?weights={path}&sha256={sha256_file(path)}"

    return make


def before_the_head(model, head, transform, pictures):
    """What a network's last layer is given: caught by a hook, picture by picture."""
    caught = []
    handle = model.get_submodule(head).register_forward_pre_hook(
        lambda _, args: caught.append(args[0])
    )
    with torch.inference_mode():
        for picture in pictures:
            model(transform(picture).unsqueeze(0))
    handle.remove()
    return torch.cat([features.flatten(1) for features in caught])


@pytest.mark.parametrize(
    ("name", "head"),
    [
        ("mobilenet_v3_small", "classifier.3"),
        ("shufflenet_v2_x0_5", "fc"),
    ],
)
def test_vectors_are_what_the_last_layer_is_given(name, head, saved, load, encode, raws):
    model, uri = saved(name)
    transform = models.get_model_weights(name).DEFAULT.transforms()
    expected = before_the_head(model, head, transform, raws["image"][:3])

    encoder = load(uri, "image")

    assert encoder.dim == expected.shape[1] == model.get_submodule(head).in_features
    torch.testing.assert_close(encode(encoder, raws["image"][:3]), expected, rtol=0, atol=1e-5)


def test_squeezenet_has_a_convolution_for_its_head(saved, load, encode, raws):
    model, uri = saved("squeezenet1_1")
    transform = models.SqueezeNet1_1_Weights.DEFAULT.transforms()
    with torch.inference_mode():
        maps = [model.features(transform(picture).unsqueeze(0)) for picture in raws["image"][:3]]
    expected = torch.cat(maps).relu().mean((2, 3))

    torch.testing.assert_close(
        encode(load(uri, "image"), raws["image"][:3]), expected, atol=1e-5, rtol=0
    )


# RegNets compute their widths with tensors, so only a real one can be built.
META = [name for name in names() if not name.startswith("regnet")]


@pytest.mark.parametrize("name", [*META, "regnet_x_400mf"])
@pytest.mark.filterwarnings("ignore:The default weight initialization")
def test_the_layer_taken_off_is_the_one_that_gives_the_thousand_classes(name):
    with torch.device("meta" if name in META else "cpu"):
        model = models.get_model(name, weights=None)
    shapes = {key: value.shape for key, value in model.state_dict().items()}
    head = cut_head(model, parse_uri(f"torchvision:{name}"))
    assert shapes[f"{head}.weight"][0] == 1000
    assert head.split(".")[0] in ("fc", "classifier", "heads", "head")
    assert isinstance(model.get_submodule(head), torch.nn.Identity)


SMALL_VIT = {
    "image_size": 224,
    "patch_size": 56,
    "num_layers": 2,
    "num_heads": 2,
    "hidden_dim": 16,
    "mlp_dim": 32,
}
SMALL_SWIN = {
    "patch_size": [8, 8],
    "embed_dim": 8,
    "depths": [1, 1],
    "num_heads": [2, 2],
    "window_size": [7, 7],
}


@pytest.mark.parametrize(
    ("build", "layer", "pooling", "pooled"),
    [
        (lambda: models.VisionTransformer(**SMALL_VIT), "encoder.ln", None, lambda out: out[:, 0]),
        (
            lambda: models.VisionTransformer(**SMALL_VIT),
            "encoder.layers.encoder_layer_0",
            "mean",
            lambda out: out.mean(1),
        ),
        # Swin's channels come last.
        (
            lambda: models.SwinTransformer(**SMALL_SWIN),
            "features.1",
            None,
            lambda out: out.mean((1, 2)),
        ),
        (
            lambda: models.SwinTransformer(**SMALL_SWIN),
            "permute",
            "max",
            lambda out: out.amax((2, 3)),
        ),
        (lambda: models.squeezenet1_1(), "features.3", "max", lambda out: out.amax((2, 3))),
        (lambda: models.SwinTransformer(**SMALL_SWIN), "head", None, lambda out: out),
    ],
)
def test_an_inner_layer_is_pooled_over_space_or_tokens(build, layer, pooling, pooled):
    torch.manual_seed(4)
    model = build().eval()
    pixels = torch.rand(2, 3, 224, 224)
    caught = []
    # A copy: the next layer may work in place.
    handle = model.get_submodule(layer).register_forward_hook(
        lambda module, args, out: caught.append(out.clone())
    )
    with torch.inference_mode():
        model(pixels)
    handle.remove()

    query = f"?pooling={pooling}" if pooling else ""
    inner = InnerLayers(model, [layer], parse_uri(f"torchvision:x{query}"))

    with torch.inference_mode():
        [vectors] = inner(pixels)
    torch.testing.assert_close(vectors, pooled(caught[0]), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("build", "layers"),
    [
        # Behind the first nodes stand an in-place ReLU and an in-place sum.
        (models.squeezenet1_1, ["features.6", "features.0"]),
        (models.resnet18, ["layer1.0.bn2", "layer2", "conv1"]),
    ],
)
def test_several_layers_in_one_pass_are_what_each_gives_alone(build, layers):
    torch.manual_seed(4)
    model = build().eval()
    pixels = torch.rand(2, 3, 64, 64)
    uri = parse_uri("torchvision:x")
    with torch.inference_mode():
        expected = [InnerLayers(model, [layer], uri).eval()(pixels)[0] for layer in layers]
        together = InnerLayers(model, layers, uri).eval()(pixels)
    for one, same in zip(expected, together, strict=True):
        assert one.abs().max() > 0
        torch.testing.assert_close(same, one)


def test_the_fingerprint_names_several_layers_and_their_widths(load, encode, raws):
    uri = "torchvision:squeezenet1_1?weights=random&layer="
    both = load(f"{uri}features.6,features.3", "image")
    single = load(f"{uri}features.3", "image")
    assert both.fingerprint()["layers"] == [["features.6", 256], ["features.3", 128]]
    assert both.fingerprint()["layer"] == "features.6,features.3"
    assert "layers" not in single.fingerprint()
    assert single.fingerprint()["layer"] == "features.3"
    assert both.space != single.space
    vectors = encode(both, raws["image"])
    torch.testing.assert_close(vectors[:, 256:], encode(single, raws["image"]))


def test_a_network_with_another_input_size_is_cut_as_well(load, monkeypatch, tmp_path):
    # Some published weights take pictures of 384 or 518 pixels and refuse all others.
    def build(name, weights=None, **options):
        return models.VisionTransformer(**{**SMALL_VIT, "image_size": 112})

    class Entry:
        name = "LARGE"
        url = "x.pth"

        @staticmethod
        def transforms():
            return ImageClassification(crop_size=112, resize_size=112)

    class Entries(list):
        DEFAULT = Entry

    monkeypatch.setattr(models, "get_model", build)
    monkeypatch.setattr(models, "get_model_weights", lambda name: Entries([Entry]))
    encoder = load("torchvision:vit_b_16?weights=random&layer=encoder.ln", "image")
    assert encoder.dim == 16


def test_every_network_of_the_list_has_weights_with_transforms():
    assert {"resnet50", "vit_b_16", "swin_t", "convnext_tiny", "efficientnet_b0"} <= set(names())
    for name in names():
        assert callable(models.get_model_weights(name).DEFAULT.transforms())


def test_a_file_named_as_published_brings_the_transforms_of_that_entry(tmp_path, load):
    v1 = models.MobileNet_V2_Weights.IMAGENET1K_V1
    path = tmp_path / f"{v1.url.rsplit('/', 1)[1].removesuffix('.pth')}.safetensors"
    from safetensors.torch import save_file

    save_file(models.mobilenet_v2(weights=None).state_dict(), path)
    renamed = tmp_path / "mine.safetensors"
    renamed.write_bytes(path.read_bytes())

    def resize(uri):
        return load(uri, "image").fingerprint()["preprocessing"].split("resize_size=[")[1][:3]

    assert resize(f"torchvision:mobilenet_v2?weights={path}") == "256"
    assert resize(f"torchvision:mobilenet_v2?weights={renamed}") == "232"
    assert resize(f"torchvision:mobilenet_v2?weights={renamed}&transforms=IMAGENET1K_V1") == "256"


def test_a_fine_tuned_network_with_other_classes_fits_too(saved, load, encode, raws):
    model, uri = saved("shufflenet_v2_x0_5", num_classes=7)
    transform = models.ShuffleNet_V2_X0_5_Weights.DEFAULT.transforms()
    expected = before_the_head(model, "fc", transform, raws["image"][:1])
    vectors = encode(load(uri, "image"), raws["image"][:1])
    torch.testing.assert_close(vectors, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("torchvision:resnet51", "no such network (did you mean 'resnet"),
        ("torchvision:resnet18@v1", "have no revisions"),
        (
            "torchvision:resnet18?weight=DEFAULT",
            "unknown option 'weight' (did you mean 'weights'?)",
        ),
        ("torchvision:resnet18?weights=IMAGENET1K", "(did you mean 'IMAGENET1K_V1'?)"),
        ("torchvision:resnet18?weights=none.safetensors", "none.safetensors: no such file"),
        ("torchvision:resnet18?weights=random&seed=x", "seed=x is not a whole number"),
        (
            "torchvision:shufflenet_v2_x0_5?weights=random&transforms=V9",
            "option transforms=V9 is unknown",
        ),
        ("torchvision:shufflenet_v2_x0_5?weights=random&layer=layer9", "has no layer 'layer9'"),
        ("torchvision:squeezenet1_1?weights=random&layer=features.3,y", "has no layer 'y'"),
        ("torchvision:shufflenet_v2_x0_5?weights=random&pooling=max", "pooling= needs layer="),
        (
            "torchvision:shufflenet_v2_x0_5?weights=random&layer=maxpool&pooling=last",
            "pooling=last is unknown",
        ),
        (
            "torchvision:shufflenet_v2_x0_5?weights=random&layer=maxpool&pooling=cls",
            "needs a layer of tokens",
        ),
    ],
)
def test_refuses_in_one_line(uri, words, load):
    with pytest.raises(InputError) as raised:
        load(uri, "image")
    assert words in str(raised.value)


def test_a_state_dict_of_another_network_is_refused(saved, load):
    _, uri = saved("squeezenet1_1")
    with pytest.raises(InputError, match=r"lacks \d+ tensors, the first"):
        load(uri.replace("torchvision:squeezenet1_1", "torchvision:shufflenet_v2_x0_5"), "image")


def test_weights_that_cannot_be_downloaded_are_one_line(monkeypatch, tmp_path, load):
    from urllib.error import URLError

    def unreachable(*args, **kwargs):
        raise URLError("no route to host")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.urlopen", unreachable)
    with pytest.raises(InputError, match=r"cannot be loaded \(URLError: .*no route to host"):
        load("torchvision:squeezenet1_1", "image")


def test_only_pictures(load):
    with pytest.raises(InputError, match="encodes image, not audio"):
        load("torchvision:resnet18", "audio")
