import hashlib
import warnings

import pytest
import torch
from safetensors.torch import save_file

from extract.encoders.uri import parse_uri
from extract.encoders.weights import (
    load_strictly,
    read_state_dict,
    seeded,
    state_digest,
    weights_file,
)
from extract.errors import InputError
from extract.files import sha256_file

STATE = {"weight": torch.arange(6.0).reshape(2, 3), "bias": torch.tensor([0.5, -0.5])}


def read(path, query=""):
    return read_state_dict(path, parse_uri(f"torchvision:x?weights={path}{query}"))


def same(state):
    return set(state) == set(STATE) and all(torch.equal(state[k], STATE[k]) for k in STATE)


def test_safetensors_need_no_digest_but_hold_to_one(tmp_path):
    path = tmp_path / "w.safetensors"
    save_file(STATE, path)
    assert same(read(path))
    assert same(read(path, f"&sha256={sha256_file(path).upper()}"))
    with pytest.raises(InputError, match=r"has SHA-256 \w{16}\.\.\., not the stated 00000000"):
        read(path, "&sha256=00000000")


def test_a_pickle_needs_its_digest_as_an_option_or_in_its_name(tmp_path):
    path = tmp_path / "w.pth"
    torch.save(STATE, path)
    digest = sha256_file(path)
    with pytest.raises(InputError, match=r"is a pickle.*add &sha256=HEX"):
        read(path)
    assert same(read(path, f"&sha256={digest}"))
    with pytest.raises(InputError, match="not 8 to 64 hexadecimal digits"):
        read(path, f"&sha256={digest[:7]}")
    named = path.rename(tmp_path / f"w-{digest[:8]}.pth")
    assert same(read(named))
    with pytest.raises(InputError, match="not the stated abcdef01"):
        read(named.rename(tmp_path / "w-abcdef01.pth"))


def test_a_pickle_that_would_run_code_is_refused(tmp_path):
    class Harmful:
        def __reduce__(self):
            return (open, (str(tmp_path / "harm"), "w"))

    path = tmp_path / "w.pth"
    torch.save({"weight": Harmful()}, path)
    with pytest.raises(InputError, match="holds more than tensors") as raised:
        read(path, f"&sha256={sha256_file(path)}")
    assert str(raised.value).isprintable()
    assert "weights_only" not in str(raised.value)
    assert not (tmp_path / "harm").exists()


def test_another_protocol_of_pickle_is_refused_without_a_warning(tmp_path):
    path = tmp_path / "w.pth"
    torch.save(STATE, path, pickle_protocol=4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(InputError, match="of an unusual protocol"):
            read(path, f"&sha256={sha256_file(path)}")


def test_a_name_that_no_file_can_have():
    with pytest.raises(InputError, match="File name too long"):
        weights_file(parse_uri(f"torchvision:x?weights={'a' * 300}.pth"))


def test_training_scripts_wrap_their_weights(tmp_path):
    path = tmp_path / "w.pth"
    torch.save({"state_dict": STATE, "epoch": 3}, path)
    assert same(read(path, f"&sha256={sha256_file(path)}"))


@pytest.mark.parametrize("content", [[1, 2], {"epoch": 3}])
def test_what_is_no_state_dict(tmp_path, content):
    path = tmp_path / "w.pth"
    torch.save(content, path)
    with pytest.raises(InputError, match="holds no state dict"):
        read(path, f"&sha256={sha256_file(path)}")


def test_a_broken_file(tmp_path):
    path = tmp_path / "w.safetensors"
    path.write_bytes(b"\x00" * 20)
    with pytest.raises(InputError, match="cannot be loaded"):
        read(path)


def test_only_a_value_with_a_weights_suffix_is_a_file(tmp_path):
    assert weights_file(parse_uri("torchvision:x")) is None
    assert weights_file(parse_uri("torchvision:x?weights=IMAGENET1K_V1")) is None
    with pytest.raises(InputError, match=r"weights=none\.pth: no such file"):
        weights_file(parse_uri("torchvision:x?weights=none.pth"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"bias": None}, "lacks 1 tensors, the first 'bias'"),
        ({"extra": torch.zeros(1)}, "holds, beside the model's, 1 tensors, the first 'extra'"),
        ({"weight": torch.zeros(3, 2)}, "has in another shape 1 tensors, the first 'weight'"),
    ],
)
def test_a_state_dict_must_fit(tmp_path, change, words):
    state = {k: v for k, v in {**STATE, **change}.items() if v is not None}
    with pytest.raises(InputError) as raised:
        load_strictly(torch.nn.Linear(3, 2), state, tmp_path / "w.pth", parse_uri("timm:x"))
    assert words in str(raised.value)


def test_the_counter_of_batch_normalisation_may_be_missing(tmp_path):
    norm = torch.nn.BatchNorm1d(2)
    state = {k: v + 1 for k, v in norm.state_dict().items() if k != "num_batches_tracked"}
    load_strictly(norm, state, tmp_path / "w.pth", parse_uri("timm:x"))
    assert norm.running_var.tolist() == [2.0, 2.0]


def test_the_digest_is_of_names_types_shapes_and_bytes():
    linear = torch.nn.Linear(3, 2)
    linear.load_state_dict(STATE)
    expected = hashlib.sha256()
    for name in ("bias", "weight"):
        expected.update(f"{name} torch.float32 {tuple(STATE[name].shape)}\n".encode())
        expected.update(STATE[name].numpy().tobytes())
    assert state_digest(linear) == expected.hexdigest()
    assert state_digest(linear, ignore={"bias"}) != expected.hexdigest()
    with torch.no_grad():
        linear.weight[1, 2] += 1e-6
    assert state_digest(linear) != expected.hexdigest()
    assert state_digest(linear.to(torch.bfloat16)) != expected.hexdigest()


def test_random_weights_depend_on_the_seed_alone_and_leave_the_generator_be():
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    uri, other = parse_uri("timm:x?seed=1"), parse_uri("timm:x?seed=2")
    first = seeded(uri, lambda: torch.nn.Linear(3, 2))
    assert torch.equal(torch.rand(2), expected)
    assert torch.equal(seeded(uri, lambda: torch.nn.Linear(3, 2)).weight, first.weight)
    assert not torch.equal(seeded(other, lambda: torch.nn.Linear(3, 2)).weight, first.weight)
