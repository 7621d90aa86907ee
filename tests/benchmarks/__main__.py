"""Speed, side by side in one run: `uv run python -m tests.benchmarks NAME…`, or all without a name.

Each benchmark prints a table and a JSON line. What is compared runs in a process of its own, one after the other, on
the photos of ELPV (package elpv-dataset, CC BY-NC-SA 4.0).
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from tests.benchmarks import cases

NAMES = ("extraction", "train", "fine_tune", "memory", "tables", "kill")


def main(names: Annotated[list[str] | None, typer.Argument()] = None, home: Path | None = None) -> None:
    """Run the named benchmarks, in a home of their own unless one is given."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # a command that compiles every import anew is not what users run
    with tempfile.TemporaryDirectory() as folder:
        os.environ["HEADSTART_HOME"] = str(home or folder)
        for name in names or NAMES:
            show(name, getattr(cases, name)())


def show(name: str, rows: list[dict[str, Any]]) -> None:
    """A table and a JSON line."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=name)
    for column in rows[0]:
        table.add_column(column)
    for row in rows:
        table.add_row(*(f"{value:.2f}" if isinstance(value, float) else str(value) for value in row.values()))
    Console(width=140).print(table)
    print(json.dumps({"benchmark": name, "machine": machine(), "rows": rows}))


def machine() -> str:
    """Cores and model of the processor."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "unknown processor")
    return f"{os.cpu_count()} cores, {model}, Python {sys.version.split()[0]}, {_commit()}"


def _commit() -> str:
    done = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    return done.stdout.strip() or "no commit"


if __name__ == "__main__":
    typer.run(main)
