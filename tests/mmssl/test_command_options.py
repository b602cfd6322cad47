import pytest

from extract.errors import InputError
from mmssl.command_options import chosen_model, pairs


def test_pairs_are_split_at_the_first_equals_sign():
    given = ["image=a=b", "text=C:\\x y"]
    assert pairs("--features", given) == {"image": "a=b", "text": "C:\\x y"}
    assert pairs("--features", None) == {}


@pytest.mark.parametrize("value", ["image", "=x", "image=", "", "="])
def test_a_pair_without_both_sides_is_refused(value):
    with pytest.raises(InputError) as caught:
        pairs("--column", [value])
    assert str(caught.value).startswith(f"--column {value}: not of the form NAME=PATH")


def test_a_name_twice_is_refused():
    with pytest.raises(InputError, match="--encoder a=y: 'a' is given twice"):
        pairs("--encoder", ["a=x", "a=y"])


def test_a_named_model_is_taken_and_leaves_nothing_for_a_project(tmp_path):
    assert chosen_model(tmp_path / "run", None) == tmp_path / "run"
    with pytest.raises(InputError, match=r"--project .*: nothing is left for it"):
        chosen_model(tmp_path / "run", tmp_path)


def test_without_a_name_the_latest_run_of_the_project_is_taken(tmp_path):
    with pytest.raises(InputError):
        chosen_model(None, tmp_path)
    run = tmp_path / "runs" / "one"
    (run / "model").mkdir(parents=True)
    (run / "model" / "config.json").write_text("{}")
    (run / "metrics.json").write_text("{}")
    assert chosen_model(None, tmp_path) == run
