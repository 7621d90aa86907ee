"""Every setting as a table: for `headstart settings`, and for the document beside the shipped recipes."""

import json
from typing import Any

from pydantic.fields import FieldInfo

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


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return ""
    default: Any = field.get_default()
    return json.dumps(list(default) if isinstance(default, tuple) else default)


def _code(default: str) -> str:
    return f"`{default}`" if default.startswith(('"', "[", "{")) else default
