"""Sphinx: the documents of this repository as pages.

    uv run --group docs sphinx-build -W -c infra/docs . pages

It needs no network. The notebook is run while the pages are built.
"""

import os
import re
import tempfile

from sphinx.application import Sphinx

project = "Headstart"
author = copyright = "The Headstart authors"
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
root_doc = "infra/docs/index"
# The documents stay where their readers on GitHub find them.
include_patterns = [
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "flows/recipes/README.md",
    "infra/README.md",
    "infra/docs/*.md",
    "infra/docs/*.ipynb",
    "mlflow/README.md",
    "tasks/*/README.md",
    "tests/benchmarks/README.md",
    "tests/fuzz/README.md",
]
exclude_patterns = [".*", "pages"]
html_theme = "furo"
html_title = project
myst_heading_anchors = 3
# The prose of a docstring in backticks may name what several classes have.
suppress_warnings = ["ref.python"]
nb_execution_mode = "force"
nb_execution_timeout = 600
nb_execution_raise_on_error = True
# What libraries write besides is no part of the lesson.
nb_output_stderr = "remove"
autodoc_typehints = "description"
autodoc_member_order = "bysource"


def _as_written(app: object, what: str, name: str, thing: object, options: object, lines: list[str]) -> None:
    """Docstrings are plain text with code in single backticks or indented, as Markdown has it."""
    found: list[str] = []
    for line in lines:
        code = line.startswith("    ")
        if code and found and not found[-1] and not found[-2].startswith("    "):
            found += [".. code-block:: python", ""]
        found.append(line if code else re.sub("`([^`]+)`", r"``\1``", line).replace("*", r"\*"))
    lines[:] = found


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", _as_written, priority=900)


# The notebook's runs are kept in a home of their own, which is deleted when this process ends.
_home = tempfile.TemporaryDirectory(prefix="headstart-docs-", ignore_cleanup_errors=True)
os.environ["HEADSTART_HOME"] = _home.name
