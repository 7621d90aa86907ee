"""Published weights: downloaded once, checked, and an error that helps where there is no network."""

import hashlib
import io
import urllib.error

import pytest

from tasks.networks.weights.published import Published
from tasks.runtime.errors import DependencyError

DATA = b"weights" * 1000
SHA256 = hashlib.sha256(DATA).hexdigest()


class Reply(io.BytesIO):
    headers = {"Content-Length": str(len(DATA))}


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """The addresses that were asked for; each answers with the same bytes."""
    addresses = []
    monkeypatch.setenv("HEADSTART_HOME", str(tmp_path))
    monkeypatch.setattr("urllib.request.urlopen", lambda url, timeout: addresses.append(url) or Reply(DATA))
    return addresses


@pytest.mark.parametrize("digest", [{"sha256": SHA256}, {"sha256": SHA256[:8]}, {"md5": hashlib.md5(DATA).hexdigest()}])
def test_a_file_is_downloaded_once_into_the_home_folder(asked, tmp_path, digest):
    weights = Published("https://example.org/a/net.h5", **digest)
    assert weights.state() == "ImageNet, downloaded at first use"
    assert weights.fetch() == weights.fetch() == tmp_path / "weights" / "net.h5"
    assert weights.fetch().read_bytes() == DATA
    assert asked == ["https://example.org/a/net.h5"]
    assert weights.state() == "here, ImageNet"
    assert [f.name for f in (tmp_path / "weights").iterdir()] == ["net.h5"]


def test_another_file_than_the_published_one_is_refused(asked):
    with pytest.raises(DependencyError, match=r"expected a digest that begins with 0{64}, found .*delete it"):
        Published("https://example.org/net.h5", sha256="0" * 64).fetch()


def test_without_a_network_the_error_says_which_file_to_put_where(monkeypatch, tmp_path):
    def refuse(url, timeout):
        raise urllib.error.URLError("no route")

    monkeypatch.setenv("HEADSTART_HOME", str(tmp_path))
    monkeypatch.setattr("urllib.request.urlopen", refuse)
    weights = Published("https://example.org/net.h5", sha256=SHA256)
    with pytest.raises(DependencyError, match=rf"https://example\.org/net\.h5.*{tmp_path}/weights/net\.h5"):
        weights.fetch()
    (tmp_path / "weights" / "net.h5").write_bytes(DATA)
    assert weights.fetch().is_file()
