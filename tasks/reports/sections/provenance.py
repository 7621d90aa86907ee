"""Where a model comes from: code, packages, machine, data and weights."""

import os
import platform
from collections.abc import Mapping
from html import escape
from importlib import metadata
from pathlib import Path

from tasks.reports.sections.html import table
from tasks.runtime import git

PACKAGES = ("headstart", "keras", "tensorflow", "prefect", "mlflow", "great-expectations", "openvino", "numpy")


def of_machine() -> dict[str, str]:
    """Versions of the packages, of Python, the machine, and the git commit of the folder that the run started in."""
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in PACKAGES)
    return {
        "packages": f"Python {platform.python_version()}, {versions}",
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "git commit": git.commit(Path.cwd()) or "the run was not started in a git repository",
    }


def section(facts: Mapping[str, str]) -> str:
    """A table of what is known, by name."""
    rows = [(escape(name), f'<span class="long">{escape(value)}</span>') for name, value in facts.items()]
    return table({"what": False, "value": False}, rows)
