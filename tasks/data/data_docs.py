"""Great Expectations' Data Docs as pages that need no network.

The stock pages load styles, scripts and a logo with an id from other hosts; offline they have no layout. Here
those links are removed, and a small style sheet of our own is added.
"""

import re
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

REMOTE = re.compile(
    r"<script[^>]*\bsrc=[\"']https?://[^>]*>\s*</script>|<(?:link|img)\b[^>]*(?:href|src)=[\"']https?://[^>]*>"
    r"|url\([\"']?https?://[^)]*\)",
    re.I | re.S,
)
STYLE = """<style>
:root{color-scheme:light dark}
body{font:15px/1.5 system-ui,sans-serif;max-width:76rem;margin:0 auto;padding:1rem}
table{border-collapse:collapse;margin:.5rem 0}td,th{border:1px solid #8886;padding:.3rem .6rem;text-align:left}
.breadcrumb,.list-inline{list-style:none;display:flex;gap:.5rem;padding:0}
.badge{background:#8883;border-radius:.3rem;padding:0 .4rem}
.card{border:1px solid #8884;border-radius:.4rem;padding:.8rem;margin:.5rem 0}
.text-success{color:#1a7f37}.text-danger{color:#cf222e}
.modal,.dropdown-menu,.navbar-toggler,.cooltip,#walkthrough{display:none}
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


def make_offline(folder: Path, outcomes: list[tuple[str, str]]) -> None:
    """Remove every link in the folder's pages that loads something from another host; links to click stay.

    The stock index is drawn by a script from another host: a plain one replaces it, with the outcome and text of each
    expectation.
    """
    (folder / "index.html").write_text(_index(folder, outcomes), encoding="utf-8")
    for page in folder.rglob("*.html"):
        text = REMOTE.sub("", page.read_text(encoding="utf-8"))
        page.write_text(text.replace("</head>", f"{STYLE}</head>", 1), encoding="utf-8")


def _index(folder: Path, outcomes: list[tuple[str, str]]) -> str:
    rows = "".join(f"<tr><td>{escape(outcome)}</td><td>{escape(text)}</td></tr>" for outcome, text in outcomes)
    pages = sorted(page.relative_to(folder) for page in folder.rglob("*.html") if page.name != "index.html")
    links = "".join(
        f'<li><a href="{quote(str(page))}">{escape(page.parts[0])}: {_name(page)}</a></li>' for page in pages
    )
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Data Docs</title>'
    return (
        f'<!doctype html><html lang="en"><head>{head}</head><body><h1>Data Docs</h1>'
        f"<p>What was expected of the data, and what was found. Files that were set aside are in rejected.csv.</p>"
        f"<table><tr><th>outcome</th><th>expectation</th></tr>{rows}</table>"
        f"<h2>Pages of Great Expectations</h2><ul>{links}</ul></body></html>"
    )


def _name(page: Path) -> str:
    return escape(page.parts[1].removesuffix(".html"))
