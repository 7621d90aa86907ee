"""Weights that their authors publish at an address: downloaded once, checked, stored in the home folder."""

import shutil
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from tasks.networks.weights import files
from tasks.runtime import progress
from tasks.runtime.errors import DependencyError
from tasks.runtime.home import home

CHUNK = 1 << 20
TIMEOUT = 30


@dataclass(frozen=True)
class Published:
    """A file at an https address, and its digest: a SHA-256 (or its start) or an MD5, hex."""

    url: str
    sha256: str = ""
    md5: str = ""

    @property
    def path(self) -> Path:
        """Where the file is stored, whether it is there or not."""
        return home() / "weights" / self.url.rpartition("/")[2]

    @property
    def digest(self) -> str:
        """Digest of the file: equal digests, equal weights."""
        return self.sha256 or self.md5

    def digest_of(self, weights: str) -> str:
        """Digest of a recipe's weights: `imagenet` for these, `random`, or a file. Downloads nothing."""
        if weights == "random":
            return weights
        return self.digest if weights == "imagenet" else files.from_path(weights)[1]

    def state(self) -> str:
        """Whether the file is here or will be downloaded, as text."""
        return "here, ImageNet" if self.path.is_file() else "ImageNet, downloaded at first use"

    def fetch(self) -> Path:
        """The file, downloaded unless it is there; its digest is checked each time.

        Raises `DependencyError`: without a network, saying where to put the file; with another digest than expected.
        """
        if not self.path.is_file():
            self._download()
        found = files.digest(self.path, "sha256" if self.sha256 else "md5")
        if not found.startswith(self.digest):
            raise DependencyError(
                f"{self.path}: expected a digest that begins with {self.digest}, found {found}. The file is damaged or "
                f"wrong: delete it, and the next run downloads it again from {self.url}."
            )
        return self.path

    def _download(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        working = self.path.with_name(f".{self.path.name}.part")
        try:
            with urllib.request.urlopen(self.url, timeout=TIMEOUT) as reply, working.open("wb") as file:  # noqa: S310 - https, ours
                size = int(reply.headers.get("Content-Length") or 0)
                for chunk in progress.counted(_chunks(reply), size, f"download {self.path.name}"):
                    file.write(chunk)
        except (urllib.error.URLError, OSError) as error:
            raise DependencyError(
                f"Expected to download {self.url}, failed with: {error}. Download it on another machine, "
                f"and put the file here: {self.path}"
            ) from None
        shutil.move(working, self.path)


def _chunks(reply: BinaryIO) -> Iterator[tuple[bytes, int]]:
    while chunk := reply.read(CHUNK):
        yield chunk, len(chunk)
