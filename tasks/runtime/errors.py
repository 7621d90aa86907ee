"""Errors of a run, each with the exit code that the command returns for it."""

import errno
import os
import re
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import unquote

#: How libraries say that a disk is full: SQLite, the system, HDF5, NumPy.
FULL = re.compile(rf"disk is full|{os.strerror(errno.ENOSPC)}|errno = {errno.ENOSPC}\b|\d+ requested and \d+ written")
#: How the system says that a file or folder cannot be used, and how SQLite does.
CLOSED = {errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.EFBIG}
DATABASE = re.compile("attempt to write a readonly database|unable to open database file")


class HeadstartError(Exception):
    """A failure to explain to the user: what was expected, what was found, what to do."""

    exit_code = 3


class DataError(HeadstartError):
    """The data or a gate does not meet the requirements."""

    exit_code = 1


class UsageError(HeadstartError):
    """The recipe or the command line is wrong."""

    exit_code = 2


class DependencyError(HeadstartError):
    """Something that the run depends on (a server, a file of weights, a package) failed."""

    exit_code = 3


class Lost(DependencyError):
    """Rows of a table that were there are damaged or gone; `table` is its name. What makes them makes them again."""

    def __init__(self, table: str, message: str) -> None:
        super().__init__(message)
        self.table = table

    def __reduce__(self) -> tuple[Any, ...]:
        return Lost, (self.table, str(self))


def brief(error: BaseException) -> str:
    """The first line of a library's message, which may be pages long."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]


def few(names: Iterable[Any], most: int = 12) -> str:
    """Names from somebody's data, for a message: not too many of them, and each cut."""
    texts = [str(name) for name in names]
    shown = ", ".join(repr(text if len(text) <= 60 else f"{text[:57]}...") for text in texts[:most])
    return shown + (f" and {len(texts) - most} more" if len(texts) > most else "")


#: An address in a text, up to a blank or a quote; and a text that begins with the user of an address.
ADDRESS, USER = re.compile(r"://[^\s'\"]+"), re.compile(r"^(?!\S+://)\S*@")
#: Queries, and other places where libraries write what nobody else should read.
QUERY = re.compile(r"\?(?=[^\s'\"]*=)[^\s'\"]*")
VALUE = re.compile(
    r"((?:pass(?:word|wd)?|pwd|token|secret|signature|credential|api_?key|access_?key)[\w-]*(?:\s*=|['\"]\s*:)\s*['\"]?)"
    r"[^\s'\",;&)]+",
    re.IGNORECASE,
)
HEADER = re.compile(r"(authorization['\"]?\s*[=:]\s*['\"]?(?:basic|bearer)?\s*)[^\s'\",;)]+", re.IGNORECASE)
#: Variables of the environment that hold a secret; shorter values are words that may stand anywhere.
SECRET = re.compile(r"(PASSWORD|PASSWD|SECRET|TOKEN|AUTH_STRING|API_?KEY|ACCESS_KEY|WEBHOOK)(_|$)", re.IGNORECASE)
SHORTEST = 6


def without_secrets(text: str) -> str:
    """A text without the users, passwords and queries of the addresses in it, and without secrets of the environment.

    A password may hold `@` and `/`: what stands before the last `@` of an address with a user is left out.
    """
    for secret in _secrets():
        text = text.replace(secret, "***")
    text = ADDRESS.sub(lambda found: f"://{_bare(found[0][3:])}", USER.sub("", text))
    for pattern, instead in ((QUERY, ""), (HEADER, r"\1***"), (VALUE, r"\1***")):
        text = pattern.sub(instead, text)
    return text


def settings_without_secrets(values: Any) -> Any:
    """Nested settings as JSON values, without the secrets of addresses and of the environment in their texts.

    A text without an address stays as it is: a setting may be called `tokens`, and a path may hold `@`.
    """
    secrets = _secrets()

    def cleaned(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: cleaned(each) for name, each in value.items()}
        if isinstance(value, list | tuple):
            found = [cleaned(each) for each in value]
            return found if isinstance(value, list) else tuple(found)
        if isinstance(value, str) and ("://" in value or any(secret in value for secret in secrets)):
            return without_secrets(value)
        return value

    return cleaned(values)


def _bare(address: str) -> str:
    """An address, without its scheme, without user and query."""
    host = re.split("[/?#]", address, maxsplit=1)[0]
    if "@" in host or ("@" in address and not re.fullmatch(r"[^:]*|\[.*\](:\d+)?", host)):
        address = address.rpartition("@")[2]
    return address.partition("?")[0]


def _secrets() -> list[str]:
    """Secrets that the environment holds, the longest first: of two, one may be in the other."""
    found = set()
    for name, value in os.environ.items():
        if SECRET.search(name):
            found |= {value, value.partition(":")[2] if "AUTH_STRING" in name else ""}
        if address := re.fullmatch(r"[\w+.-]+://[^:/@]*:(\S+)@\S*", value):
            found |= {address[1], unquote(address[1])}
    return sorted((each for each in found if len(each) >= SHORTEST), key=len, reverse=True)


def disk_full(error: BaseException) -> str:
    """The message for the user if an error, or one that caused it, is that a disk is full; else ""."""
    for each in causes(error):
        full = getattr(each, "errno", None) in (errno.ENOSPC, errno.EDQUOT)
        if full or FULL.search(str(each)):
            return (
                f"The disk is full: {brief(each)}. Free some space, or name a home folder on another disk, and run the "
                "same command again: it continues where this one stopped."
            )
    return ""


def not_writable(error: BaseException) -> str:
    """The message for the user if an error, or one that caused it, is that a file or folder cannot be used; else ""."""
    for each in causes(error):
        if isinstance(each, OSError) and each.errno in CLOSED and each.filename:
            found = f"{each.filename}, but it cannot: {each.strerror}"
        elif DATABASE.search(str(each)):
            found = f"the database of the home folder, but it cannot: {brief(each)}"
        else:
            continue
        return (
            f"Expected to read and write {found}. Correct its owner or its mode, move away what lies in its place, or "
            "name another home folder, and run the same command again: it continues where this one stopped."
        )
    return ""


def causes(error: BaseException) -> Iterator[BaseException]:
    """An error, the one that caused it, the one that caused that, and so on."""
    each: BaseException | None = error
    while each is not None:
        yield each
        each = each.__cause__ or each.__context__
