"""Errors of a run, each with the exit code that the command returns for it."""

import errno
import os
import re
from collections.abc import Iterable
from typing import Any


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


def without_secrets(text: str) -> str:
    """A text without the users and passwords, and without the queries, of the addresses in it."""
    return re.sub(r"\?[^\s'\"]*", "", re.sub(r"(?<=://)[^\s'\"]*@|^(?!\S+://)\S*@", "", text))


def disk_full(error: BaseException) -> str:
    """The message for the user if an error, or one that caused it, is that a disk is full; else ""."""
    each: BaseException | None = error
    while each is not None:
        full = getattr(each, "errno", None) in (errno.ENOSPC, errno.EDQUOT)
        if full or any(text in str(each) for text in ("disk is full", os.strerror(errno.ENOSPC))):
            return (
                f"The disk is full: {brief(each)}. Free some space, or name a home folder on another disk, and run the "
                "same command again: it continues where this one stopped."
            )
        each = each.__cause__ or each.__context__
    return ""
