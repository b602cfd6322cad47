import pytest

from extract.errors import InputError
from mmssl.data.formats.base import Format
from mmssl.data.formats.registry import find_format, format_names, source_format


@pytest.mark.parametrize("name", format_names())
def test_every_layout_has_its_own_name_and_a_title(name):
    layout = find_format(name)
    assert isinstance(layout, Format)
    assert layout.name == name
    assert layout.title


@pytest.mark.parametrize("name", format_names())
def test_no_layout_recognises_an_empty_folder_or_a_file_of_noise(name, tmp_path):
    assert not find_format(name).recognises(tmp_path)
    (tmp_path / "noise").write_bytes(bytes(range(256)))
    assert not find_format(name).recognises(tmp_path / "noise")
    assert not find_format(name).recognises(tmp_path)


def test_auto_takes_the_one_that_there_is(tmp_path):
    (tmp_path / "train.json").write_text("{}")
    assert source_format(tmp_path).name == "mmssl"
    assert source_format(tmp_path, "tables").name == "tables"


def test_auto_asks_where_there_are_several_and_says_what_is_known_where_there_is_none(tmp_path):
    with pytest.raises(InputError, match="of no layout that is known"):
        source_format(tmp_path)
    (tmp_path / "train.json").write_text("{}")
    (tmp_path / "interactions.csv").write_text("user,item\nu,i\n")
    with pytest.raises(InputError, match="say which: --from tables or --from mmssl"):
        source_format(tmp_path)


def test_unknown_names_and_sources(tmp_path):
    with pytest.raises(InputError, match=r"unknown format 'mmsl' \(did you mean 'mmssl'\?\)"):
        source_format(tmp_path, "mmsl")
    with pytest.raises(InputError, match="no such file or folder"):
        source_format(tmp_path / "none")
