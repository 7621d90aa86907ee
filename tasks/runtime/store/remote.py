"""Files behind addresses: `s3://`, `gs://`, `https://` and `http://`; `file://` is a local path.

Credentials and endpoints come from the environment alone (`AWS_…`, `GOOGLE_…`), as those of `HEADSTART_STORE` do
(https://docs.rs/object_store/latest/object_store/aws/enum.AmazonS3ConfigKey.html).
"""

from __future__ import annotations

import errno
import hashlib
import os
import posixpath
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from tasks.runtime.errors import DataError, DependencyError, UsageError, brief
from tasks.runtime.home import expanded

if TYPE_CHECKING:
    from obstore import GetResult, ObjectMeta

#: Kinds of addresses; the first two can be listed.
LISTED, WEB = ("s3", "gs"), ("https", "http")
SCHEMES = (*LISTED, *WEB, "file")
#: Requests at the same time.
WORKERS = 32
#: Up to this number of files, each is asked for by itself; more are found in one listing.
FEW = 100
#: Where there is no file.
ABSENT = (-1, -1)
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_STATUS = re.compile(r"status code: (\d{3}[^:\n]*)")


def scheme(text: str | Path) -> str:
    """The scheme of an address, in lower case; "" for a path."""
    found = _SCHEME.match(str(text))
    return found[1].lower() if found else ""


def problem(address: str) -> str:
    """Why an address is not one that can be read, without its secrets; "" if it is."""
    kind = scheme(address)
    if kind not in SCHEMES:
        return f"an address that begins with {kind}://; expected {', '.join(SCHEMES)}"
    host, path = _parted(address)
    if "@" in host:
        return "an address with a user or password, which would be stored: put credentials into the environment"
    if kind in WEB and re.search("[?#]", path):
        return "an address with a query, which may be a secret and would be stored: expected one without ? and #"
    if kind == "file" and host.rpartition("://")[2] not in ("", "localhost"):
        return "an address of a file on another machine"
    if kind != "file" and host.endswith("://"):
        return "an address without a host or bucket"
    return ""


def shown(address: str) -> str:
    """An address without user, password and query."""
    host, path = _parted(address)
    kind, rest = host.split("://")
    name = path if kind.lower() in (*LISTED, "file") else re.split("[?#]", path)[0]
    return f"{kind}://{rest.rpartition('@')[2]}/{name}"


def place(where: str | Path, option: str) -> Path | str:
    """What an option of a recipe names: an absolute local path, or an address without a slash at its end.

    Raises `UsageError`, which shows no secret, for an address that cannot be read.
    """
    text = str(where)
    if not scheme(text):
        return expanded(where).absolute()
    if found := problem(text):
        raise UsageError(f"{option}: expected a path or an address, found {found}.")
    if scheme(text) == "file":
        return local(text)
    base, key = _split(text)
    return _joined(base, posixpath.normpath(key).strip("/.") and posixpath.normpath(key))


def local(address: str) -> Path:
    """The path of a `file://` address, which has no query: # and ? are parts of names."""
    return Path("/", unquote(_parted(address)[1])).absolute()


def within(root: str, name: str) -> tuple[str, str | None]:
    """The address of a file that a table names, by an address or relative to `root`; why it is set aside, or None.

    What is shown of an address that is set aside holds no secret.
    """
    base, top = _split(root)
    if scheme(name):
        if found := problem(name):
            return shown(name), found
        where, key = _split(name)
    else:
        where, key = base, posixpath.join(top or "/", name)
    key = posixpath.normpath(key)
    below = key.removeprefix("/") if not top else key
    inside = where == base and not below.startswith(("/", "..")) and (not top or below.startswith(f"{top}/"))
    return _joined(where, below), None if inside else f"outside the table's root {root}"


def listed(root: str) -> Iterator[tuple[str, int, int]]:
    """(address, size, stamp) of each file below an address; asks for a thousand at a time.

    The stamp is a number of the time of modification and the etag: another one means that the file has changed. Raises
    `DataError` if there is no such bucket, `DependencyError` if it cannot be listed.
    """
    import obstore

    base, key = _split(root)
    try:
        for chunk in obstore.list(_store(base), key or None, chunk_size=1000):
            for meta in chunk:
                yield _joined(base, meta["path"]), meta["size"], _stamp(meta)
    except FileNotFoundError:
        return
    except Exception as error:  # obstore has errors of several families
        status = _status(error)
        if status.startswith("404"):
            raise DataError(f"Expected a bucket at {base}, found none.") from None
        if status or "illegal" in str(error):
            hint = " Check the credentials in the environment." if status[:3] in ("400", "401", "403") else ""
            raise DependencyError(
                f"Expected to list {root}, but the answer is: {status or brief(error)}.{hint}"
            ) from None
        raise _outage(base, error) from None


def stats(addresses: Sequence[str]) -> list[tuple[int, int]]:
    """(size, stamp) of each file, as `listed` says them; `ABSENT` where the server has none.

    Raises `DependencyError` if a server does not answer.
    """
    found: dict[str, tuple[int, int]] = {}
    single = []
    for base in dict.fromkeys(_split(address)[0] for address in addresses):
        ours = [address for address in addresses if address.startswith(f"{base}/")]
        if scheme(base) in LISTED and len(ours) > FEW:
            common = posixpath.commonpath([posixpath.dirname(_split(address)[1]) for address in ours])
            found |= {address: (size, stamp) for address, size, stamp in listed(_joined(base, common))}
        else:
            single += ours
    with ThreadPoolExecutor(WORKERS) as pool:
        found |= zip(single, pool.map(stat, single), strict=True)
    return [found.get(address, ABSENT) for address in addresses]


def stat(address: str) -> tuple[int, int]:
    """(size, stamp) of one file; `ABSENT` if the server has none or does not say."""
    import obstore

    base, key = _split(address)
    try:
        meta = obstore.head(_store(base), key)
    except Exception as error:
        if isinstance(error, (FileNotFoundError, ValueError)) or _status(error):
            return ABSENT
        raise _outage(base, error) from None
    return meta["size"], _stamp(meta)


def read(address: str, limit: int, etag: str = "") -> tuple[bytes | None, str]:
    """The bytes of a file, and its etag or ""; None instead of the bytes if the etag is still `etag`.

    Asks several times before it gives up. Raises `OSError` with the reason in `strerror` if the server refuses the
    file or it has more than `limit` bytes, `DependencyError` if the server does not answer.
    """
    import obstore
    from obstore.exceptions import NotModifiedError

    base, key = _split(address)
    try:
        found: GetResult = obstore.get(_store(base), key, options={"if_none_match": etag} if etag else {})
        size = found.meta["size"]
        data = b"" if size > limit else bytes(found.bytes())
    except NotModifiedError:
        return None, etag
    except FileNotFoundError:
        raise OSError(errno.ENOENT, "there is no such file on the server") from None
    except Exception as error:
        if isinstance(error, ValueError):
            raise OSError(errno.EINVAL, f"not an address of a file: {brief(error)}") from None
        if status := _status(error):
            raise OSError(errno.EIO, f"the server answers {status}; --refresh asks again") from None
        raise _outage(base, error) from None
    if size > limit:
        raise OSError(errno.EFBIG, f"{size} bytes, more than the limit of {limit}")
    return data, found.meta["e_tag"] or ""


def _split(address: str) -> tuple[str, str]:
    """Scheme and host or bucket of an address, and the name of the file there, as it is written on the server."""
    host, path = _parted(address)
    kind, rest = host.split("://")
    base = f"{kind.lower()}://{rest.lower() if kind.lower() in WEB else rest}"
    key = path.lstrip("/")
    return base, unquote(key) if kind.lower() in WEB else key


def _parted(address: str) -> tuple[str, str]:
    kind, rest = address.split("://", 1)
    host, _, path = rest.partition("/")
    # A query may follow the host.
    at = re.search("[?#]", host)
    return (f"{kind}://{host}", path) if at is None else (f"{kind}://{host[: at.start()]}", host[at.start() :] + path)


def _joined(base: str, key: str) -> str:
    return f"{base}/{quote(key) if scheme(base) in WEB else key}".rstrip("/")


def _stamp(meta: ObjectMeta) -> int:
    text = f"{meta['last_modified'].timestamp()} {meta['e_tag']}"
    return int(hashlib.sha256(text.encode()).hexdigest()[:15], 16)


def _store(base: str) -> Any:
    names = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
    return _opened(base, next((os.environ[name] for name in names if os.environ.get(name)), ""))


@cache
def _opened(base: str, endpoint: str) -> Any:
    from obstore.store import GCSStore, HTTPStore, S3Store

    plain = base.startswith("http://") or (base.startswith("s3://") and endpoint.startswith("http://"))
    options: dict[str, Any] = {
        "client_options": {"timeout": "120s", "connect_timeout": "10s", "allow_http": plain},
        "retry_config": {"max_retries": 6, "retry_timeout": timedelta(seconds=120)},
    }
    if scheme(base) in WEB:
        return HTTPStore.from_url(base, **options)
    if scheme(base) == "gs":
        return GCSStore.from_url(base, **options)
    return S3Store.from_url(base, **options | ({"endpoint": endpoint} if endpoint else {}))


def _status(error: Exception) -> str:
    """What the server has answered, such as `403 Forbidden`; "" if nothing."""
    found = _STATUS.search(str(error))
    return found[1].strip() if found else ""


def _outage(base: str, error: Exception) -> DependencyError:
    return DependencyError(
        f"Expected {base} to answer, but it does not: {brief(error)}. Check the address, the network and the "
        "credentials in the environment, and run the same command again."
    )
