from mmssl.wording import counted


def test_one_of_a_kind_is_singular():
    assert [counted(n, "user") for n in (0, 1, 2, 1200)] == [
        *("0 users", "1 user", "2 users", "1,200 users")
    ]
