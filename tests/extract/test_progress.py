from extract.progress import progress_bar


def test_a_bar_shows_how_far_and_how_fast_on_standard_error(capsys):
    with progress_bar("encoding", 12, "items", shown=True) as advance:
        advance(5)
        advance(7)
    out, err = capsys.readouterr()
    assert out == ""
    assert "encoding" in err
    assert "12/12" in err
    assert "items/s" in err


def test_a_bar_that_is_not_wanted_shows_nothing(capsys):
    with progress_bar("encoding", 3, "items", shown=False) as advance:
        advance(3)
    assert capsys.readouterr() == ("", "")


def test_nothing_to_do_is_no_error(capsys):
    with progress_bar("encoding", 0, "items", shown=True):
        pass
    assert "0/0" in capsys.readouterr().err
