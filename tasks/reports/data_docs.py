"""Great Expectations' Data Docs as pages that need no network.

The stock pages load styles, scripts and a logo with an id from other hosts; offline they stay bare and unfolded. Here
those links are cut and a small style sheet of our own is put in their place.
"""

import re
from pathlib import Path
from typing import Any

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
.fa-check-circle::before{content:"✓"}.fa-times::before{content:"✗"}
</style>"""


def site(folder: Path) -> dict[str, Any]:
    """GX' configuration of a Data Docs site in a local folder."""
    return {
        "class_name": "SiteBuilder",
        "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
        "show_how_to_buttons": False,
        "store_backend": {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(folder)},
    }


def make_offline(folder: Path) -> None:
    """Cut every link of the folder's pages that loads something from another host; links to follow stay."""
    for page in folder.rglob("*.html"):
        text = REMOTE.sub("", page.read_text(encoding="utf-8"))
        page.write_text(text.replace("</head>", f"{STYLE}</head>", 1), encoding="utf-8")
