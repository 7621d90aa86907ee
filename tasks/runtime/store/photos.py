"""Copies of photos behind addresses in the home folder, by the SHA-256 of their bytes, which is the photo's key.

Later stages read a photo again: from its copy. A copy that was deleted or is damaged is fetched again.
"""

import errno
import hashlib
import json
import shutil
import stat
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tasks.runtime.errors import DataError
from tasks.runtime.home import home
from tasks.runtime.store import remote
from tasks.runtime.store.writing import replacing

#: The largest photo that is read, bytes.
MAX_BYTES = 512 * 2**20
#: Name of the copies among the store's tables.
NAME = "photos"


def fetched(uris: Iterable[str]) -> Iterator[tuple[str, str | None]]:
    """For each file, in order: its local path, and why it cannot be had, or None. Local files are left as they are.

    A file that is not new is not sent again by servers that know etags. Raises `DependencyError` if a server does not
    answer.
    """
    listed = list(uris)
    if not any(map(remote.scheme, listed)):
        yield from ((uri, None) for uri in listed)
        return
    pool = ThreadPoolExecutor(remote.WORKERS, thread_name_prefix="fetch")
    try:
        yield from pool.map(_fetched, listed)
    finally:
        pool.shutdown(cancel_futures=True)


def paths(uris: Iterable[str], keys: Iterable[str]) -> list[str]:
    """The local path of each photo, given its key. Raises `DataError` if it has changed on the server or is gone."""
    listed = list(zip(uris, keys, strict=True))
    if not any(remote.scheme(uri) for uri, _ in listed):
        return [uri for uri, _ in listed]
    found = [str(_place(key)) if remote.scheme(uri) else uri for uri, key in listed]
    with ThreadPoolExecutor(thread_name_prefix="photos") as pool:
        whole = pool.map(lambda pair: not remote.scheme(pair[0]) or sound(pair[1]), listed)
        lost = [pair for pair, is_whole in zip(listed, whole, strict=True) if not is_whole]
    for (uri, key), (path, error) in zip(lost, fetched(uri for uri, _ in lost), strict=True):
        if error or Path(path) != _place(key):
            raise DataError(f"Expected the photo {uri} as it was: {error or 'it has changed'}. Run the command again.")
    return found


def size(path: str) -> int:
    """Bytes of a local file. Raises `OSError` where there is none, also for a pipe or a device, which have no end."""
    found = Path(path).stat()
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "no file")
    return found.st_size


def content(path: str, key: str) -> bytes:
    """The bytes of a local file. Raises `DataError` if they are not those of the key, where it is not "".

    Raises `OSError` as `size` does.
    """
    size(path)
    data = Path(path).read_bytes()
    if key:
        check(path, data, key)
    return data


def check(path: str, data: bytes, key: str) -> None:
    """Raise `DataError` if the bytes of a file are not those of the key, under which their results would be kept."""
    if hashlib.sha256(data).hexdigest() != key:
        raise DataError(f"Expected the photo {path} as it was: it has changed. Run the command again.")


def stored() -> list[dict[str, Any]]:
    """The copies as a row of the store's tables: name, rows, bytes; no row if there are none."""
    return _row([file.stat().st_size for file in copies()])


def prune(used: Collection[str], delete: bool) -> list[dict[str, Any]]:
    """As `stored`, of the copies of photos whose keys are not in `used`; deletes them if told so."""
    sizes = []
    for file in copies():
        if file.name not in used:
            sizes.append(file.stat().st_size)
            if delete:
                file.unlink(missing_ok=True)
    if delete and not used:
        shutil.rmtree(_root(), ignore_errors=True)
    return _row(sizes)


def _row(sizes: list[int]) -> list[dict[str, Any]]:
    return [{"table": NAME, "rows": len(sizes), "bytes": sum(sizes)}] if sizes else []


def _fetched(uri: str) -> tuple[str, str | None]:
    if not remote.scheme(uri):
        return uri, None
    address = hashlib.sha256(uri.encode()).hexdigest()
    note = _root() / "from" / address[:2] / address
    known = _noted(note)
    etag = known["etag"] if known and sound(known["key"]) else ""
    try:
        data, now = remote.read(uri, MAX_BYTES, etag)
    except OSError as error:
        return uri, str(error.strerror)
    if data is None:
        return str(_place(known["key"])), None
    key = hashlib.sha256(data).hexdigest()
    file = _place(key)
    if not sound(key):
        _write(file, data)
    if now:
        _write(note, json.dumps({"etag": now, "key": key}).encode())
    return str(file), None


def _noted(note: Path) -> dict[str, str]:
    """Etag and key of the last copy of an address; nothing if there is none, or it cannot be read."""
    try:
        known = json.loads(note.read_bytes())
        return {name: str(known[name]) for name in ("etag", "key")}
    except (OSError, ValueError, LookupError, TypeError):
        return {}


def sound(key: str) -> bool:
    """Whether the copy of a photo is there, with the bytes that its key says. Decoding it takes ten times as long."""
    try:
        with _place(key).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == key
    except OSError:
        return False


def _write(file: Path, data: bytes) -> None:
    """Whole or not at all, next to other writers."""
    with replacing(file) as working:
        working.write_bytes(data)


def copies() -> Iterator[Path]:
    """The files of all copies."""
    return (file for file in _root().glob("[0-9a-f][0-9a-f]/*") if not file.name.startswith("."))


def _place(key: str) -> Path:
    return _root() / key[:2] / key


def _root() -> Path:
    return home() / "store" / NAME
