"""Listings of the Prefect server, which gives at most 200 rows at once (`PREFECT_SERVER_API_DEFAULT_LIMIT`)."""

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

Row = TypeVar("Row")


def every(read: Callable[..., list[Row]], **query: Any) -> Iterator[Row]:
    """All that a `read_…` of the client finds, page by page, each as large as the server allows."""
    offset = 0
    while page := read(**query, offset=offset):
        yield from page
        offset += len(page)
