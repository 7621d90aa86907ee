"""A version of the registry as files for somewhere else."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tasks.runtime import plugins
from tasks.runtime.errors import UsageError
from tasks.services.registry import verification, versions
from tasks.serving import exports


def export(address: str, format: str, to: Path | None) -> dict[str, Any]:
    """Write the version at `NAME@alias` or `NAME/version` into a new folder; what was written, and how exact it is.

    The version shows its files first, and what was written answers its golden images; else nothing is left. Raises
    `UsageError` where the folder is there already, `DataError` where files or answers differ.
    """
    plugins.load("exports", format)
    name, version = versions.resolve(address)
    to = (to or Path(f"{name}-{version}-{format}")).absolute()
    if to.exists():
        raise UsageError(f"--to: expected a folder that is not there yet, found {to}.")
    to.parent.mkdir(parents=True, exist_ok=True)
    seal = versions.seal(name, version)
    with (
        verification.opened(name, version, seal) as folder,
        TemporaryDirectory(dir=to.parent, prefix=".export-") as working,
    ):
        images = verification.golden_images(folder)
        wanted = verification.answer(folder, images)
        facts = {"model": name, "version": version, "fingerprint": seal}
        files = Path(working, "files")
        files.mkdir()
        apart = exports.write(format, verification.served(folder), facts, images, wanted, files)
        files.rename(to)
    return {"model": name, "version": version, "format": format, "folder": str(to), "largest_difference": apart}
