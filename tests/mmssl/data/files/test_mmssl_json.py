import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extract.errors import InputError
from mmssl.data.files.mmssl_json import read_mmssl_json

ids = st.text(min_size=1, max_size=3)


@given(st.dictionaries(ids, st.lists(st.one_of(st.integers(), ids), max_size=4), max_size=5))
def test_every_pair_is_read_in_order(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("json") / "train.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    expected = [(user, str(item)) for user, items in content.items() for item in items]
    assert read_mmssl_json(path).rows() == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1, 2]", "must hold one object"),
        ('{"0": 5}', "user '0' must have a list of items"),
        ('{"0": [1], "u": [1, 2.5]}', r"user 'u', entry 2: .* not 2\.5"),
        ('{"0": [true]}', "user '0', entry 1: .* not True"),
        ('{"0": [1', "not readable as JSON"),
        ("", "not readable as JSON"),
    ],
)
def test_a_broken_file_is_named_with_the_place(tmp_path, text, message):
    path = tmp_path / "val.json"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        read_mmssl_json(path)
    assert str(path) in str(caught.value)
