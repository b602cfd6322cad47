import pytest
import torch

from extract.errors import InputError
from mmssl.training.checkpoint import (
    flatten_optimiser,
    generations,
    has_checkpoint,
    load_checkpoint,
    restore_optimiser,
    return_to_checkpoint,
    save_checkpoint,
)


def test_what_was_saved_is_loaded(tmp_path):
    folder = tmp_path / "checkpoints" / "last"
    shared = torch.arange(4.0)
    save_checkpoint(folder, {"a": shared, "b": shared[:2]}, {"epoch": 3})
    tensors, facts = load_checkpoint(folder)
    assert tensors["a"].tolist() == [0, 1, 2, 3]
    assert tensors["b"].tolist() == [0, 1]
    assert facts["epoch"] == 3


def test_a_kill_between_the_two_renames_leaves_the_generation_before(tmp_path):
    folder = tmp_path / "last"
    for epoch in (1, 2):
        save_checkpoint(folder, {"a": torch.tensor([epoch])}, {"epoch": epoch})
    # As if killed while the third was being put in place.
    (tmp_path / "last").rename(tmp_path / "last.torn")
    assert has_checkpoint(folder)
    assert load_checkpoint(folder)[1]["epoch"] == 1
    save_checkpoint(folder, {"a": torch.tensor([3])}, {"epoch": 3})
    assert load_checkpoint(folder)[1]["epoch"] == 3


def test_half_written_tensors_never_take_the_name(tmp_path, monkeypatch):
    folder = tmp_path / "last"
    save_checkpoint(folder, {"a": torch.tensor([1])}, {"epoch": 1})

    def killed(path, value):
        raise KeyboardInterrupt

    monkeypatch.setattr("mmssl.training.checkpoint.write_json", killed)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(folder, {"a": torch.tensor([2])}, {"epoch": 2})
    tensors, facts = load_checkpoint(folder)
    assert (tensors["a"].item(), facts["epoch"]) == (1, 1)


BROKEN = [
    ("tensors.safetensors", b"\x00" * 20, "damaged"),
    ("facts.json", b"{", "not readable as JSON"),
    ("facts.json", b"[]", "version None"),
    ("facts.json", b'{"schema_version": 99}', "version 99"),
]


@pytest.mark.parametrize(("name", "content", "message"), BROKEN)
def test_a_broken_checkpoint_is_named_in_one_line(tmp_path, name, content, message):
    save_checkpoint(tmp_path / "last", {"a": torch.tensor([1])}, {"epoch": 1})
    (tmp_path / "last" / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        load_checkpoint(tmp_path / "last")


@pytest.mark.parametrize(("name", "content", "message"), BROKEN)
def test_the_generation_before_takes_the_place_of_a_broken_one(tmp_path, name, content, message):
    for epoch in (1, 2):
        save_checkpoint(tmp_path / "last", {"a": torch.tensor([epoch])}, {"epoch": epoch})
    (tmp_path / "last" / name).write_bytes(content)
    tensors, facts = load_checkpoint(tmp_path / "last")
    assert (tensors["a"].item(), facts["epoch"]) == (1, 1)


def test_a_flipped_byte_is_noticed(tmp_path):
    save_checkpoint(tmp_path / "last", {"a": torch.ones(100)}, {"epoch": 1})
    file = tmp_path / "last" / "tensors.safetensors"
    content = bytearray(file.read_bytes())
    content[-5] ^= 1
    file.write_bytes(content)
    with pytest.raises(InputError, match="damaged"):
        load_checkpoint(tmp_path / "last")


def test_only_the_wanted_epoch_is_taken(tmp_path):
    for epoch in (1, 2, 3):
        save_checkpoint(tmp_path / "best", {"a": torch.tensor([epoch])}, {"epoch": epoch})
    assert load_checkpoint(tmp_path / "best", epoch=2)[0]["a"].item() == 2
    with pytest.raises(InputError, match="epoch 3, not 1; start anew"):
        load_checkpoint(tmp_path / "best", epoch=1)


@pytest.mark.parametrize(("name", "content", "message"), BROKEN)
def test_what_is_gone_on_from_outlives_a_kill_of_the_next_save(tmp_path, name, content, message):
    folder = tmp_path / "last"
    for epoch in (1, 2):
        save_checkpoint(folder, {"a": torch.tensor([epoch])}, {"epoch": epoch})
    (folder / name).write_bytes(content)
    assert return_to_checkpoint(folder)[1]["epoch"] == 1
    save_checkpoint(folder, {"a": torch.tensor([3])}, {"epoch": 3})
    assert [load_checkpoint(path)[1]["epoch"] for path in generations(folder)] == [3, 1]


def test_returning_to_an_earlier_epoch_forgets_the_later_one(tmp_path):
    folder = tmp_path / "best"
    for epoch in (1, 2):
        save_checkpoint(folder, {"a": torch.tensor([epoch])}, {"epoch": epoch})
    for left_by_a_kill in ("best.new", "best.old"):
        (tmp_path / left_by_a_kill).mkdir()
    return_to_checkpoint(folder, epoch=1)
    assert load_checkpoint(folder)[1]["epoch"] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["best.previous"]


def test_returning_deletes_nothing_when_nothing_is_whole(tmp_path):
    folder = tmp_path / "last"
    save_checkpoint(folder, {"a": torch.tensor([1])}, {"epoch": 1})
    (folder / "facts.json").write_text("{")
    with pytest.raises(InputError, match="not readable as JSON"):
        return_to_checkpoint(folder)
    assert folder.is_dir()


def test_no_checkpoint_at_all_is_said(tmp_path):
    assert not has_checkpoint(tmp_path / "last")
    with pytest.raises(InputError, match="no checkpoint"):
        load_checkpoint(tmp_path / "last")


def test_an_optimiser_goes_on_exactly():
    def steps(parameter, optimiser, count):
        for _ in range(count):
            optimiser.zero_grad()
            (parameter * torch.arange(1.0, 4.0)).square().sum().backward()
            optimiser.step()

    straight = torch.nn.Parameter(torch.ones(3))
    whole = torch.optim.AdamW([straight], lr=0.1)
    steps(straight, whole, 6)

    first = torch.nn.Parameter(torch.ones(3))
    before = torch.optim.AdamW([first], lr=0.1)
    steps(first, before, 3)
    tensors, facts = flatten_optimiser(before, "optimiser/")
    second = torch.nn.Parameter(first.detach().clone())
    after = torch.optim.AdamW([second], lr=0.1)
    restore_optimiser(after, "optimiser/", tensors, facts)
    steps(second, after, 3)
    assert torch.equal(straight, second)
