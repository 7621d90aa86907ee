"""Suites in JSON files, as Great Expectations keeps them (`gx/expectations/NAME.json`). Nothing in them is executed."""

import difflib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from tasks.data.expectations import Check
from tasks.runtime.errors import UsageError, brief

#: What an expectation is made of; ids belong to the project that the file comes from.
PARTS = ("type", "kwargs", "meta", "description", "severity", "notes")
COLUMNS = ("column", "column_A", "column_B", "column_list")


def checks(folder: Path, table: pd.DataFrame) -> list[Check]:
    """A check for each suite of the folder. Raises `UsageError` that names the file and what is wrong in it."""
    return [_check(file, table) for file in sorted(folder.glob("*.json"))]


def _check(file: Path, table: pd.DataFrame) -> Check:
    where = f"validation.own: {file}"
    try:
        suite = json.loads(file.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{where}: expected JSON, found a mistake: {brief(error)}.") from None
    listed = suite.get("expectations") if isinstance(suite, dict) else None
    if not isinstance(listed, list) or not listed or not all(isinstance(each, dict) for each in listed):
        raise UsageError(f"{where}: expected a suite of Great Expectations with a list `expectations`, found none.")
    return Check(f"own_{file.stem}", table, "uri", [_expectation(each, where, list(table)) for each in listed], where)


def _expectation(config: dict[str, Any], where: str, columns: list[str]) -> Any:
    """The expectation of an entry, with columns that exist."""
    import great_expectations  # noqa: F401 - registers the expectations
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration
    from great_expectations.expectations.registry import list_registered_expectation_implementations

    kind, kwargs, known = (
        str(config.get("type")),
        config.get("kwargs", {}),
        list_registered_expectation_implementations(),
    )
    if kind not in known:
        close = ", ".join(difflib.get_close_matches(kind, known, 3)) or f"one such as {min(known)}"
        old = " This file is of a version before 1.0." if "expectation_type" in config else ""
        raise UsageError(f"{where}: there is no expectation {kind!r}. Did you mean {close}?{old}")
    if not isinstance(kwargs, dict):
        raise UsageError(f"{where}: {kind}: expected a table `kwargs`, found {kwargs!r}.")
    used = [*_columns(kwargs), *_filtered(kwargs.get("row_condition"), f"{where}: {kind}")]
    missing = [name for name in used if name not in columns]
    if missing and kind != "expect_column_to_exist":
        raise UsageError(f"{where}: {kind}: there is no column {missing[0]!r}. There are: {', '.join(columns)}.")
    try:
        return ExpectationConfiguration(**{part: config[part] for part in PARTS if part in config}).to_domain_obj()
    except Exception as error:  # pydantic's of two versions, and several of GX's
        raise UsageError(f"{where}: {kind}: {_explained(error)}.") from None


def _columns(kwargs: dict[str, Any]) -> Iterator[str]:
    for name in COLUMNS:
        value = kwargs.get(name, [])
        yield from map(str, value if isinstance(value, list) else [value])


def _filtered(condition: Any, where: str) -> Iterator[str]:
    """The columns of a filter of rows. A filter written as text would be run as code: it is refused."""
    if condition is None:
        return
    kind = condition.get("type") if isinstance(condition, dict) else None
    if kind in ("and", "or"):
        for each in condition.get("conditions", []):
            yield from _filtered(each, where)
    elif kind in ("comparison", "nullity"):
        column = condition.get("column")
        yield str(column.get("name") if isinstance(column, dict) else column)
    else:
        raise UsageError(
            f"{where}: expected a row_condition as Great Expectations writes Column('label') == 'a', "
            f"found {condition!r}."
        )


def _explained(error: Exception) -> str:
    """What is wrong with the arguments of an expectation."""
    listed = getattr(error, "errors", None)
    if not callable(listed):
        return brief(error)
    return "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in listed())
