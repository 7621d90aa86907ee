"""Weights that their authors publish at an address: downloaded once, checked, stored in the home folder."""

import http.client
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock

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
        if wrong := self._wrong(self.path):
            raise DependencyError(
                f"{self.path}: {wrong}. The file is damaged or wrong: delete it, and the next run downloads it again "
                f"from {self.url}."
            )
        return self.path

    def _wrong(self, file: Path) -> str:
        """What is wrong with a file's digest; "" if it is the expected one."""
        found = files.digest(file, "sha256" if self.sha256 else "md5")
        right = found.startswith(self.digest)
        return "" if right else f"expected a digest that begins with {self.digest}, found {found}"

    def _download(self) -> None:
        """Put the file into its place once it is whole. Of two runs that want it the second waits for the first."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        part = self.path.with_name(f".{self.path.name}.part")
        with FileLock(self.path.with_name(f".{self.path.name}.lock")):
            if self.path.is_file():
                return
            try:
                self._fill(part)
            except (http.client.HTTPException, OSError) as error:  # urllib's errors are OSErrors
                raise DependencyError(
                    f"Expected to download {self.url}, failed with: {error}. Run the command again: it goes on where "
                    f"this one stopped. Or download it on another machine, and put the file here: {self.path}"
                ) from None
            if wrong := self._wrong(part):
                part.unlink()
                raise DependencyError(f"{self.url}: {wrong}. It was not kept: see what answers at this address.")
            part.replace(self.path)

    def _fill(self, part: Path) -> None:
        """Download what is missing of the file. Raises `OSError` if the server sends less than it says."""
        have = part.stat().st_size if part.is_file() else 0
        request = urllib.request.Request(self.url, headers={"Range": f"bytes={have}-"} if have else {})  # noqa: S310 - https, ours
        with urllib.request.urlopen(request, timeout=TIMEOUT) as reply:  # noqa: S310 - https, ours
            goes_on = have > 0 and reply.status == http.HTTPStatus.PARTIAL_CONTENT
            have = have if goes_on else 0
            size = int(reply.headers.get("Content-Length") or 0)
            with part.open("ab" if goes_on else "wb") as file:
                for chunk in progress.counted(_chunks(reply), size, f"download {self.path.name}"):
                    file.write(chunk)
        found = part.stat().st_size - have
        if size and found != size:
            raise OSError(f"{found} of {size} bytes came")


def _chunks(reply: BinaryIO) -> Iterator[tuple[bytes, int]]:
    while chunk := reply.read(CHUNK):
        yield chunk, len(chunk)
