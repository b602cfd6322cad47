import pytest

from extract.errors import InputError, did_you_mean, nearest, require_extra


def test_the_nearest_name_or_the_valid_ones():
    assert nearest("maen", ("max", "mean")) == " (did you mean 'mean'?)"
    assert nearest("zzz", ["b", "a"]) == " (valid: a, b)"


def test_only_what_is_close_enough_may_have_been_meant():
    assert did_you_mean("maen", ("max", "mean")) == " (did you mean 'mean'?)"
    assert did_you_mean("maen", ("max", "mean"), 0.8) == ""
    assert did_you_mean("zzz", ["b", "a"]) == ""


def test_of_many_names_ten_are_shown():
    names = [f"name-{i:04}" for i in range(1000)]
    hint = nearest("zzz", names, "encoders list")
    assert hint.startswith(" (valid: name-0000, name-0001, ")
    assert hint.endswith("name-0009 and 990 more; see all: encoders list)")
    assert nearest("zzz", names).endswith(" and 990 more)")


def test_a_missing_extra_is_named():
    require_extra("there", "this", "json", "csv")
    said = r"^this needs the extra 'gone': run  pip install 'mmssl-toolkit\[gone\]'$"
    with pytest.raises(InputError, match=said):
        require_extra("gone", "this", "json", "no_such_module_anywhere")
