import numpy

from extract.versions import installed_versions


def test_what_is_not_installed_is_left_out():
    assert installed_versions(["numpy", "no-such-library"]) == {"numpy": numpy.__version__}
