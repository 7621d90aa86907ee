"""Settings in writing: a table of all, recipes as TOML with a comment beside each choice, their JSON schema."""

import json
import re
from typing import Any

from pydantic.fields import FieldInfo

from tasks.runtime.errors import UsageError
from tasks.settings.base import Settings
from tasks.settings.recipe import Recipe

#: The table is between these lines of a Markdown file.
BEGIN, END = "<!-- settings: begin -->", "<!-- settings: end -->"


def rows() -> list[dict[str, str]]:
    """Name, default as JSON ("" for a required setting) and meaning of every setting, in the order of a recipe."""
    found = []
    for section, field in Recipe.model_fields.items():
        parts: dict[str, FieldInfo] = getattr(field.annotation, "model_fields", {"": field})
        for name, part in parts.items():
            setting = f"{section}.{name}".rstrip(".")
            found.append({"setting": setting, "default": _default(part), "meaning": part.description or ""})
    return found


def markdown() -> str:
    """The rows as a Markdown table."""
    lines = [
        f"| `{row['setting']}` | {_code(row['default'])} | {row['meaning']} |".replace("|  |", "| |") for row in rows()
    ]
    return "\n".join(["| setting | default | meaning |", "|---|---|---|", *lines])


def written_into(text: str) -> str:
    """A document with the current table between its two marks. Raises `ValueError` without marks."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"expected a document with the lines {BEGIN} and {END}, found one without")
    return f"{before}{BEGIN}\n{markdown()}\n{END}{after}"


def schema() -> str:
    """The JSON schema of recipes."""
    return json.dumps(Recipe.model_json_schema(), indent=2)


def toml(values: dict[str, Any], comments: dict[str, str], schema: str, head: str) -> str:
    """A recipe's text. Comments are by the settings' full names; without one a setting gets its description.

    `schema`: the schema's address, seen from the file, for the first line, as Taplo and other editors read it; `head`:
    the comment below it. Raises `UsageError` for text that no UTF-8 file can hold.
    """
    told = {row["setting"]: row["meaning"] for row in rows()} | comments
    return "\n".join([f"#:schema {schema}", _comment(head), *_table(values, "", told)]) + "\n"


def _table(values: dict[str, Any], name: str, comments: dict[str, str]) -> list[str]:
    """The lines of a table and of those inside it."""
    plain = {key: value for key, value in values.items() if not isinstance(value, dict)}
    lines = ["", f"[{name}]"] if name and plain else [""] if plain else []
    for key, value in plain.items():
        said = comments.get(f"{name}.{key}".lstrip("."), "")
        lines.append(f"{_key(key)} = {_value(value)}" + (f"  {_comment(said)}" if said else ""))
    for key, value in values.items():
        if isinstance(value, dict):
            lines += _table(value, f"{name}.{_key(key)}".lstrip("."), comments)
    return lines


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _value(name)


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_key(key)} = {_value(each)}" for key, each in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_value, value)) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str):
        return str(value)  # numbers and dates are written as Python writes them
    if any("\ud800" <= c <= "\udfff" for c in value):
        raise UsageError(f"Expected text in UTF-8, found {value!a}. Rename the file or folder.")
    # JSON's strings are TOML's, but for one character.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _comment(text: str) -> str:
    """A comment on one line; what cannot be printed is left out."""
    return "# " + "".join(c if c.isprintable() else " " for c in text)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return ""
    default: Any = field.get_default()
    if isinstance(default, Settings):
        default = default.model_dump(exclude_defaults=True)
    return json.dumps(list(default) if isinstance(default, tuple) else default)


def _code(default: str) -> str:
    return f"`{default}`" if default.startswith(('"', "[", "{")) else default
