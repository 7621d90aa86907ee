"""Published weights: downloaded once, checked, and an error that helps where there is no network."""

import hashlib
import io
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest

from tasks.networks.weights.published import Published
from tasks.runtime.errors import DependencyError

DATA = b"weights" * 1000
SHA256 = hashlib.sha256(DATA).hexdigest()


class Reply(io.BytesIO):
    def __init__(self, request, data=DATA, says=None):
        start = int(request.headers.get("Range", "bytes=0-")[6:-1])
        super().__init__(data[start:])
        self.status = 206 if start else 200
        self.headers = {"Content-Length": str(len(DATA) - start if says is None else says)}


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """The addresses that were asked for; each answers with the same bytes."""
    addresses = []
    monkeypatch.setenv("HEADSTART_HOME", str(tmp_path))
    monkeypatch.setattr(
        "urllib.request.urlopen", lambda asked, timeout: addresses.append(asked.full_url) or Reply(asked)
    )
    return addresses


@pytest.mark.parametrize("digest", [{"sha256": SHA256}, {"sha256": SHA256[:8]}, {"md5": hashlib.md5(DATA).hexdigest()}])
def test_a_file_is_downloaded_once_into_the_home_folder(asked, tmp_path, digest):
    weights = Published("https://example.org/a/net.h5", **digest)
    assert weights.state() == "ImageNet, downloaded at first use"
    assert weights.fetch() == weights.fetch() == tmp_path / "weights" / "net.h5"
    assert weights.fetch().read_bytes() == DATA
    assert asked == ["https://example.org/a/net.h5"]
    assert weights.state() == "here, ImageNet"
    assert [f.name for f in (tmp_path / "weights").iterdir() if f.suffix != ".lock"] == ["net.h5"]


def test_another_file_than_the_published_one_is_refused_and_not_kept(asked, tmp_path):
    weights = Published("https://example.org/net.h5", sha256="0" * 64)
    with pytest.raises(DependencyError, match=r"expected a digest that begins with 0{64}, found .*not kept"):
        weights.fetch()
    assert [f.name for f in (tmp_path / "weights").iterdir() if f.suffix != ".lock"] == []
    (tmp_path / "weights" / "net.h5").write_bytes(DATA)
    with pytest.raises(DependencyError, match=r"expected a digest that begins with 0{64}, found .*delete it"):
        weights.fetch()


def test_a_download_that_was_cut_off_goes_on(asked, tmp_path, monkeypatch):
    weights = Published("https://example.org/net.h5", sha256=SHA256)
    whole = urllib.request.urlopen
    monkeypatch.setattr("urllib.request.urlopen", lambda asked, timeout: Reply(asked, DATA[:3000]))
    with pytest.raises(DependencyError, match=r"3000 of 7000 bytes came\. Run the command again"):
        weights.fetch()
    assert not weights.path.exists()
    sizes = []
    monkeypatch.setattr(
        "urllib.request.urlopen", lambda asked, timeout: sizes.append(dict(asked.headers)) or whole(asked, timeout)
    )
    assert weights.fetch().read_bytes() == DATA
    assert sizes == [{"Range": "bytes=3000-"}]


def test_of_two_runs_that_want_a_file_one_downloads_it(asked):
    weights = Published("https://example.org/net.h5", sha256=SHA256)
    with ThreadPoolExecutor(2) as both:
        found = [each.result().read_bytes() for each in [both.submit(weights.fetch) for _ in range(2)]]
    assert found == [DATA, DATA]
    assert len(asked) == 1


def test_without_a_network_the_error_says_which_file_to_put_where(monkeypatch, tmp_path):
    def refuse(asked, timeout):
        raise urllib.error.URLError("no route")

    monkeypatch.setenv("HEADSTART_HOME", str(tmp_path))
    monkeypatch.setattr("urllib.request.urlopen", refuse)
    weights = Published("https://example.org/net.h5", sha256=SHA256)
    with pytest.raises(DependencyError, match=rf"https://example\.org/net\.h5.*{tmp_path}/weights/net\.h5"):
        weights.fetch()
    (tmp_path / "weights" / "net.h5").write_bytes(DATA)
    assert weights.fetch().is_file()
