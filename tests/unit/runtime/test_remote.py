"""Addresses: what they name, and what they may not."""

import pytest

from tasks.runtime.errors import UsageError
from tasks.runtime.store import remote


@pytest.mark.parametrize(
    ("root", "name", "address"),
    [
        ("s3://b/p", "x/a ä#%20?.png", "s3://b/p/x/a ä#%20?.png"),
        ("s3://b/p", "./y/../a.png", "s3://b/p/a.png"),
        ("s3://b", "S3://b/a.png", "s3://b/a.png"),
        ("https://h/p", "a b%.png", "https://h/p/a%20b%25.png"),
        ("https://h/p", "https://H/p/a%20b.png", "https://h/p/a%20b.png"),
    ],
)
def test_a_name_below_the_root_is_an_address(root, name, address):
    assert remote.within(root, name) == (address, None)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../q/a.png", "outside"),
        ("/etc/passwd", "outside"),
        ("https://h/p/%2e%2e/q.png", "outside"),
        ("https://h/pq/a.png", "outside"),
        ("https://h.evil/p/a.png", "outside"),
        ("http://h/p/a.png", "outside"),
        ("https://u:s3cret@h/p/a.png", "user or password"),
        ("https://h/p/a.png?token=s3cret", "a query"),
        ("https://h?s3cret/p/a.png", "a query"),
        ("ftp://h/p/a.png", "ftp://"),
    ],
)
def test_what_is_not_below_the_root_is_set_aside_without_its_secrets(name, reason):
    address, error = remote.within("https://h/p", name)
    assert reason in error and "s3cret" not in address + error


@pytest.mark.parametrize(
    "where", ["ftp://h/p", "s3://u:s3cret@b/p", "https://h/p?k=s3cret", "file://other/p", "s3:///p"]
)
def test_an_option_that_is_no_address_is_refused(where):
    with pytest.raises(UsageError, match=r"source\.options\.path") as error:
        remote.place(where, "source.options.path")
    assert "s3cret" not in str(error.value)


def test_an_option_names_a_path_or_an_address(tmp_path):
    assert remote.place(tmp_path.as_uri(), "path") == tmp_path == remote.place(tmp_path, "path")
    odd = tmp_path / "a b%20#\u00e9?x"
    assert (
        remote.place(odd.as_uri(), "path") == odd == remote.place(f"file://localhost{tmp_path}/a%20b%2520#é?x", "path")
    )
    assert remote.shown("file:///a#b?c") == "file:///a#b?c"
    assert remote.place("s3://b/p/", "path") == "s3://b/p"
    assert remote.place("s3://b", "path") == "s3://b" == remote.place("s3://b/", "path")
