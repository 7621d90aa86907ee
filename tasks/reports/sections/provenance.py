"""Where a model comes from: code, packages, machine, data and weights."""

import os
import platform
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

from tasks.reports.blocks import Block, Long, table
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


def section(facts: Mapping[str, str]) -> list[Block]:
    """A table of what is known, by name."""
    return [table({"what": False, "value": False}, ((name, Long(value)) for name, value in facts.items()))]
