"""Export of a registered version as files for another runtime."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tasks.runtime import plugins
from tasks.runtime.errors import UsageError
from tasks.services.registry import verification, versions
from tasks.serving import exports


def export(address: str, format: str, to: Path | None) -> dict[str, Any]:
    """Write the version at `NAME@alias` or `NAME/version` to a new folder; returns what was written, and how exactly.

    The version's files are checked first, and the export must answer its golden images; else nothing is left. Raises
    `UsageError` if the folder exists already, `DataError` if files or answers differ.
    """
    plugins.load("exports", format)
    name, version = versions.resolve(address)
    to = (to or Path(f"{name}-{version}-{format}")).absolute()
    if to.exists():
        raise UsageError(f"--to: expected a folder that does not exist yet, found {to}.")
    to.parent.mkdir(parents=True, exist_ok=True)
    seal = versions.seal(name, version)
    with (
        verification.opened(name, version, seal) as folder,
        TemporaryDirectory(dir=to.parent, prefix=".export-") as working,
    ):
        images = verification.golden_images(folder)
        expected = verification.answer(folder, images)
        facts = {"model": name, "version": version, "fingerprint": seal}
        files = Path(working, "files")
        files.mkdir()
        difference = exports.write(format, verification.served(folder), facts, images, expected, files)
        files.rename(to)
    return {"model": name, "version": version, "format": format, "folder": str(to), "largest_difference": difference}
