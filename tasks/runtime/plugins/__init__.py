"""Plugins: a plugin is a module of one of these folders, its name is the file's stem; or it is somebody else's.

A plugin's entry function takes its options as keyword-only arguments; `bind` checks a recipe's options against them
without calling anything. Plugins therefore import heavy libraries inside their functions.
"""

import importlib
import inspect
import json
from collections import defaultdict
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

from pydantic import ConfigDict, Field, ValidationError, create_model

from tasks.runtime.errors import UsageError
from tasks.runtime.plugins import foreign

#: For each kind: the room that its folder is in, and the entry function of a plugin.
KINDS = {
    "sources": ("data", "rows"),
    "expectations": ("data", "suite"),
    "backbones": ("networks", "build"),
    "heads": ("networks", "build"),
    "engines": ("networks", "start"),
    "transferability": ("features", "score"),
    "metrics": ("evaluation", "score"),
    "gates": ("evaluation", "check"),
    "exports": ("serving", "write"),
}
#: What was expected, by pydantic's type of an error.
EXPECTED = {
    **dict.fromkeys(("tuple_type", "list_type"), "a list"),
    **dict.fromkeys(("dict_type", "model_type"), "a table"),
    **dict.fromkeys(("bool_type", "bool_parsing"), "true or false"),
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float"), "a whole number"),
    **dict.fromkeys(("float_type", "float_parsing", "finite_number"), "a number"),
    "string_type": "text",
    "string_pattern_mismatch": "text of the form {pattern}",
    "path_type": "a path",
    "literal_error": "{expected}",
    "greater_than": "more than {gt:g}",
    "greater_than_equal": "at least {ge:g}",
    "less_than": "less than {lt:g}",
    "less_than_equal": "at most {le:g}",
    "too_short": "a list with at least {min_length}",
}
KINDS_OF_VALUES = ("str", "int", "float", "bool")

#: Ranges of plugins' options.
Count = Annotated[int, Field(ge=1)]
Above0 = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
Dropout = Annotated[float, Field(ge=0, lt=1)]


#: Makes the plugins of a folder known too.
use = foreign.use


@cache
def _own(kind: str) -> tuple[str, ...]:
    folder = Path(__file__).parents[2] / KINDS[kind][0] / kind
    return tuple(sorted(f.stem for f in folder.glob("*.py") if not f.stem.startswith("_")))


def names(kind: str) -> tuple[str, ...]:
    """Names of the plugins of a kind, sorted. Raises `UsageError` for a name that two have."""
    others = foreign.found(kind)
    if twice := set(others).intersection(_own(kind)):
        name = min(twice)
        raise UsageError(f"{kind}: expected another name than {name!r}, which Headstart has, in {others[name].where}.")
    return tuple(sorted((*_own(kind), *others)))


def load(kind: str, name: str) -> ModuleType:
    """The module of a plugin; `UsageError` names the ones that exist."""
    if name not in names(kind):
        raise UsageError(f"{kind}: expected one of {', '.join(names(kind))}, found {name!r}.")
    if name in _own(kind):
        return importlib.import_module(f"tasks.{KINDS[kind][0]}.{kind}.{name}")
    return foreign.found(kind)[name].load()


def entry(kind: str, name: str) -> Callable[..., Any]:
    """The entry function of a plugin. Raises `UsageError` if it has none."""
    module, function = load(kind, name), KINDS[kind][1]
    if not callable(getattr(module, function, None)):
        raise UsageError(f"{kind}: expected a function `{function}` in the plugin {name!r}, found none.")
    return getattr(module, function)


def code(kind: str) -> dict[str, str]:
    """Digests of the code of others' plugins of a kind, by name: what uses all of them depends on it."""
    return {name: other.code() for name, other in foreign.found(kind).items()}


def mentioned(text: str) -> dict[str, str]:
    """Digests of the code of others' plugins whose names are in a JSON text."""
    every = {f"{kind} {name}": (name, other) for kind in KINDS for name, other in foreign.found(kind).items()}
    return {which: other.code() for which, (name, other) in every.items() if json.dumps(name) in text}


def bind(kind: str, name: str, options: dict[str, Any], where: str) -> dict[str, Any]:
    """Options checked and converted by the entry function's keyword-only arguments; `UsageError` names a wrong one."""
    function = entry(kind, name)
    keywords = [p for p in inspect.signature(function).parameters.values() if p.kind is p.KEYWORD_ONLY]
    fields: dict[str, Any] = {p.name: (p.annotation, ... if p.default is p.empty else p.default) for p in keywords}
    # __module__: where annotations kept as text are looked up.
    schema = create_model(
        f"{name} options", __config__=ConfigDict(extra="forbid"), __module__=function.__module__, **fields
    )
    try:
        checked = schema.model_validate(options)
    except ValidationError as error:
        known = ", ".join(fields) or "none"
        raise UsageError(f"{explain(error, where)} {name} takes these options: {known}.") from None
    return {key: getattr(checked, key) for key in fields}


def describe(kind: str) -> list[dict[str, Any]]:
    """Name, options with their defaults, and purpose of every plugin of a kind."""
    rows, others = [], foreign.found(kind)
    for name in names(kind):
        options = [p for p in inspect.signature(entry(kind, name)).parameters.values() if p.kind is p.KEYWORD_ONLY]
        shown = ", ".join(p.name if p.default is p.empty else f"{p.name}={p.default!r}" for p in options)
        about = next(iter((load(kind, name).__doc__ or "").strip().splitlines()), "")
        whose = others[name].where if name in others else "headstart"
        rows.append({kind.removesuffix("s"): name, "options": shown, "about": about, "from": whose})
    return rows


def explain(error: ValidationError, where: str = "") -> str:
    """A pydantic error as sentences: which key, what was expected, what was found."""
    lines: dict[str, str] = {}
    expected: dict[str, list[str]] = defaultdict(list)
    for item in error.errors():
        # Of a setting of several kinds, pydantic names each kind as if it was a part of the key.
        parts = [str(part) for part in item["loc"] if part not in KINDS_OF_VALUES and "[" not in str(part)]
        key = ".".join([*([where] if where else []), *parts])
        if item["type"] == "extra_forbidden":
            lines[key] = f"{key}: there is no such setting. headstart settings lists all of them."
        elif item["type"] == "missing":
            lines[key] = f"{key}: expected a value, found none."
        elif words := EXPECTED.get(item["type"]):
            expected[key].append(words.format(**item.get("ctx", {})))
            lines[key] = f"{key}: expected {' or '.join(expected[key])}, found {item['input']!r}."
        else:
            said = item["msg"].removeprefix("Value error, ")
            # What concerns several settings names them itself, and whole tables are no answer.
            whole = isinstance(item["input"], dict)
            lines[key] = f"{key}: " * bool(key) + said + (f", found {item['input']!r}." if not whole else ".")
    return " ".join(lines.values())
