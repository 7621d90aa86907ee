"""Pages from templates, by Jinja2: every value in them is escaped (https://jinja.palletsprojects.com)."""

import base64
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.reports.blocks import Block, Long, Strong
from tasks.runtime.escapes import markdown

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

CODE = re.compile("`([^`]+)`")


@cache
def _environment() -> "Environment":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"prose": _prose, "inline": _inline, "anchor": anchor}
    made.tests |= {"strong": lambda cell: isinstance(cell, Strong), "long": lambda cell: isinstance(cell, Long)}
    return made


def card(template: Path, **values: Any) -> str:
    """Markdown from a template file, whose values are escaped."""
    from jinja2 import Environment, StrictUndefined

    made = Environment(  # noqa: S701 - `finalize` escapes
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=lambda value: markdown(str(value)),
    )
    return made.from_string(template.read_text(encoding="utf-8")).render(values)


def page(template: str, **values: Any) -> str:
    """A whole page, from a file in `templates/`."""
    return _environment().get_template(template).render(values)


def blocks(some: Iterable[Block]) -> str:
    """A section of a page."""
    return page("blocks.html", blocks=list(some))


def anchor(heading: str) -> str:
    """The name of a heading in an address."""
    return "".join(c if c.isalnum() else "-" for c in heading.lower())


def _prose(text: str) -> "Markup":
    """Plain text, with words between backticks as code."""
    from markupsafe import Markup, escape

    return Markup(CODE.sub(r"<code>\1</code>", str(escape(text))))  # noqa: S704 - it is escaped first


def _inline(file: Path) -> str:
    """A PNG file as an address that holds it."""
    return f"data:image/png;base64,{base64.b64encode(file.read_bytes()).decode()}"
