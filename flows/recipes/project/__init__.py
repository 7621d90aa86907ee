"""A folder to keep under version control: a recipe, a head of one's own, and files for CI, Prefect and Docker."""

import json
import re
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from flows.recipes.draft import SCHEMA, Draft
from flows.recipes.draft import write as drafted
from tasks.runtime.errors import UsageError
from tasks.runtime.store.writing import replacing
from tasks.settings import writing

HERE = Path(__file__).parent
#: Where each of the files beside this one goes.
FILES = {
    "README.md": "README.md",
    "requirements.txt": "requirements.txt",
    "gitignore": ".gitignore",
    "dockerignore": ".dockerignore",
    "ci.yml": ".github/workflows/ci.yml",
    "narrow.txt": "plugins/heads/narrow.py",
    "compose.yaml": "compose.yaml",
    "Dockerfile": "Dockerfile",
}
#: Deployments of any recipe: in a checkout, and in an installed wheel.
PREFECT = (HERE.parents[2] / "prefect.yaml", HERE / "prefect.yaml")


def write(path: str, overrides: list[str], folder: Path) -> Draft:
    """Look at the photos at a path, and write a project for them into a new or empty folder.

    Raises `UsageError` if the folder has files, or cannot be written.
    """
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise UsageError(f"--project: expected a new or empty folder, found {folder}, which is not. Name another one.")
    if Path(path).exists():
        path = str(Path(path).absolute())  # the project may be used from another folder
    made = [each for each in (folder, *folder.absolute().parents) if not each.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--project: expected a folder that can be made at {folder}, but {error.strerror}.") from None
    try:
        draft = drafted(path, overrides, folder / "recipe.toml", force=False)
    except BaseException:
        for each in made:
            each.rmdir()
        raise
    name = draft.recipe.name
    file = draft.file.rename(folder / f"{name}.toml")
    own = '# Heads and other plugins of your own.\nplugins = "plugins"\n'
    text = re.sub("(?m)^#:schema .*", f"#:schema ./{SCHEMA}", file.read_text(encoding="utf-8"), count=1)
    texts = {file.name: re.sub("(?m)^name = .*\n", rf"\g<0>{own}", text, count=1), SCHEMA: writing.schema()}
    texts |= dict(_filled(name, Path(str(draft.recipe.source.options.get("path", "")))))
    for to, text in texts.items():
        (folder / to).parent.mkdir(parents=True, exist_ok=True)
        with replacing(folder / to) as working:
            working.write_text(text, encoding="utf-8")
    return Draft(file, draft.recipe, draft.found)


def _filled(name: str, photos: Path) -> Iterator[tuple[str, str]]:
    """Path and text of each file. `photos`: what a container sees of this machine, if it is a path here."""
    place = json.dumps(str(photos.parent if photos.is_file() else photos))
    volume = f"      - {{ type: bind, source: {place}, target: {place}, read_only: true }}\n"
    values = {
        "@NAME@": name,
        "@PHOTOS@": volume if photos.is_absolute() else "",
        "@VERSION@": metadata.version("headstart"),
    }
    for own, to in FILES.items():
        text = (HERE / own).read_text(encoding="utf-8")
        for mark, value in values.items():
            text = text.replace(mark, value)
        yield to, text
    text = next(place for place in PREFECT if place.is_file()).read_text(encoding="utf-8")
    text = text.replace("{{ $NAME }}", name).replace("NAME=pets RECIPE=/srv/pets.toml", f"RECIPE=$PWD/{name}.toml")
    yield "prefect.yaml", text.replace("NAME is the recipe's name, RECIPE its path", "RECIPE is the recipe's path")
