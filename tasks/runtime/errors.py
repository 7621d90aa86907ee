"""Errors of a run, each with the exit code that the command returns for it."""

import errno
import os
import re
from collections.abc import Iterable, Iterator
from typing import Any

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


def brief(error: BaseException) -> str:
    """The first line of a library's message, which may be pages long."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]


def few(names: Iterable[Any], most: int = 12) -> str:
    """Names from somebody's data, for a message: not too many of them, and each cut."""
    texts = [str(name) for name in names]
    shown = ", ".join(repr(text if len(text) <= 60 else f"{text[:57]}...") for text in texts[:most])
    return shown + (f" and {len(texts) - most} more" if len(texts) > most else "")


def without_secrets(text: str) -> str:
    """A text without the users and passwords, and without the queries, of the addresses in it."""
    return re.sub(r"\?[^\s'\"]*", "", re.sub(r"(?<=://)[^\s'\"]*@|^(?!\S+://)\S*@", "", text))


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
