"""Great Expectations' Data Docs as pages that need no network.

The stock pages load styles, scripts and a logo with an id from other hosts; offline they have no layout, and buttons
that do nothing. Here scripts, styles and those links are removed, and a small style sheet of our own is added.

GX writes values of the data into its pages as they are (its templates end in `.j2`, for which it does not escape). So
each page has a policy: a browser runs nothing and loads nothing, whatever a label holds.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

REMOTE = re.compile(
    r"<(script|style)\b.*?</\1>|<(?:link|img)\b[^>]*(?:href|src)=[\"'](?:https?://|[./]*static/)[^>]*>"
    r"|url\([\"']?https?://[^)]*\)",
    re.I | re.S,
)
#: https://www.w3.org/TR/CSP3/; first in the head, as what stands before it is not under it.
POLICY = (
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; "
    "img-src data:; base-uri 'none'; form-action 'none'\">"
)
STYLE = """<style>
:root{color-scheme:light dark}
body{font:15px/1.5 system-ui,sans-serif;max-width:76rem;margin:0 auto;padding:1rem}
table{border-collapse:collapse;margin:.5rem 0}td,th{border:1px solid #8886;padding:.3rem .6rem;text-align:left}
.breadcrumb,.list-inline{list-style:none;display:flex;gap:.5rem;padding:0}
.badge{background:#8883;border-radius:.3rem;padding:0 .4rem}
.card{border:1px solid #8884;border-radius:.4rem;padding:.8rem;margin:.5rem 0}
.text-success{color:#1a7f37}.text-danger{color:#cf222e}
.modal,.dropdown-menu,.navbar-toggler,.cooltip,#walkthrough,.card:has([type=radio]),[data-toggle=collapse]{display:none}
footer{display:none}
.fa-check-circle::before{content:"✓"}.fa-times::before{content:"✗"}
</style>"""


def site(folder: Path) -> dict[str, Any]:
    """GX configuration of a Data Docs site in a local folder."""
    return {
        "class_name": "SiteBuilder",
        "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
        "show_how_to_buttons": False,
        "store_backend": {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(folder)},
    }


@dataclass(frozen=True)
class Link:
    """A cell of a table, or an entry of a list, that opens a page."""

    text: str
    address: str


def make_offline(folder: Path, outcomes: list[tuple[str, str]]) -> None:
    """Remove every link in the folder's pages that loads something from another host; links to click stay.

    The stock index is drawn by a script from another host: a plain one replaces it, with the outcome and text of each
    expectation.
    """
    pages = sorted(page.relative_to(folder) for page in folder.rglob("*.html") if page.name != "index.html")
    links = [Link(f"{page.parts[0]}: {page.parts[1].removesuffix('.html')}", quote(str(page))) for page in pages]
    said = "What was expected of the data, and what was found. Files that were set aside are in rejected.csv."
    write_index(folder / "index.html", "Data Docs", said, ("outcome", "expectation"), outcomes, links)
    make_pages_offline(folder.rglob("*.html"))


def write_index(
    file: Path,
    title: str,
    said: str,
    columns: tuple[str, ...],
    rows: Sequence[Sequence[str | Link]],
    links: Sequence[Link] = (),
) -> None:
    """Write an index: a sentence, a table, and links to further pages."""
    from jinja2 import Environment

    template = Path(__file__).with_name("index.html").read_text(encoding="utf-8")
    made = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(template)
    text = made.render(title=title, said=said, columns=columns, rows=rows, links=links)
    file.write_text(text, encoding="utf-8")


def make_pages_offline(pages: Iterable[Path]) -> None:
    """Remove from pages what is loaded from another host, and give them a style and a policy."""
    for page in pages:
        text = REMOTE.sub("", page.read_text(encoding="utf-8"))
        head = re.search(r"<head\b[^>]*>", text, re.I)
        at = head.end() if head else 0
        text = f"{text[:at]}{POLICY}{text[at:]}".replace("</head>", f"{STYLE}</head>", 1)
        page.write_text(text, encoding="utf-8")
