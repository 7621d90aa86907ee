"""Registered models: their tags, and the aliases that Headstart moves."""

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from tasks.runtime.errors import DependencyError, UsageError
from tasks.services import tracking
from tasks.services.registry import locks

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion, RegisteredModel


Entity = TypeVar("Entity")

CHALLENGER, CHAMPION, PREVIOUS = "challenger", "champion", "previous"
ALIASES = (CHALLENGER, CHAMPION, PREVIOUS)
#: Tag of a version: digest of the data set that it was made from.
DATA = "headstart.data"


def known(name: str) -> bool:
    """Whether there is a registered model of this name."""
    return find(name) is not None


def names() -> list[str]:
    """All registered models."""
    return [found.name for found in tracking.every(tracking.client().search_registered_models)]


def model(name: str) -> "RegisteredModel":
    """The registered model, with its tags and aliases. Raises `UsageError` if there is none."""
    found = find(name)
    if found is None:
        there = ", ".join(names()) or "none"
        raise UsageError(f"Expected a registered model, found none named {name}. Registered: {there}.")
    return found


def find(name: str) -> "RegisteredModel | None":
    """The registered model, with its tags and aliases, or None."""
    return if_there(lambda: tracking.client().get_registered_model(name))


def if_there(ask: Callable[[], Entity]) -> Entity | None:
    """What the registry answers; None if it has no such model, alias or version.

    Of a model that is not there, MLflow's authentication denies aliases and versions to all but administrators, so
    those are asked of a known model alone.
    """
    from mlflow.exceptions import MlflowException

    try:
        return ask()
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise


def tag_model(name: str, tag: str, text: str) -> None:
    """Set a tag of the registered model."""
    locks.check(name)
    tracking.client().set_registered_model_tag(name, tag, text)


def untag_model(name: str, tag: str) -> None:
    """Remove a tag of the registered model."""
    locks.check(name)
    tracking.client().delete_registered_model_tag(name, tag)


def address() -> str:
    """Where the registry is."""
    import mlflow

    return str(mlflow.get_registry_uri())


def create(name: str) -> None:
    """Create a registered model of this name, unless there is one."""
    from mlflow.exceptions import MlflowException

    try:
        tracking.client().create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":  # another run was faster, or this one asked twice
            raise


def place(name: str, wanted: dict[str, str]) -> None:
    """Set champion, challenger and previous exactly as `wanted`, and read them back."""
    client, now = tracking.client(), aliases_of(name)
    for which in (PREVIOUS, CHAMPION, CHALLENGER):
        if wanted.get(which, "") != now.get(which, ""):
            locks.check(name)
            if which in wanted:
                client.set_registered_model_alias(name, which, wanted[which])
            else:
                client.delete_registered_model_alias(name, which)
    found = aliases_of(name)
    if found != wanted:
        raise DependencyError(f"Expected the aliases {wanted} of {name} after moving them, found {found}.")


def aliases_of(name: str) -> dict[str, str]:
    """Version by alias, of the aliases that Headstart moves."""
    found = model(name).aliases
    return {which: str(found[which]) for which in ALIASES if which in found}


def alias(name: str, wanted: str) -> "ModelVersion | None":
    """The version that carries an alias, or None."""
    return if_there(lambda: tracking.client().get_model_version_by_alias(name, wanted)) if known(name) else None


def aliases(model: "RegisteredModel", version: str) -> tuple[str, ...]:
    """Aliases of a version, sorted. Search results omit them (mlflow#16734), so the model's entry is needed."""
    return tuple(sorted(alias for alias, v in model.aliases.items() if str(v) == str(version)))


def versions(name: str) -> "list[ModelVersion]":
    """Every version of a model, the newest first; none if there is no such model."""
    quote = '"' if "'" in name else "'"  # others may give a name that Headstart does not
    query = None if quote in name else f"name = {quote}{name}{quote}"
    found = tracking.every(tracking.client().search_model_versions, query)
    return sorted((each for each in found if each.name == name), key=lambda each: -int(each.version))


def opponent(name: str, digest: str) -> str:
    """The version that a model with this digest must be compared with; "" if there is none.

    A model that is already the champion is compared with what it replaced, so that a repeated run gives the same
    verdict.
    """
    champion = alias(name, CHAMPION)
    if champion is None:
        return ""
    return champion.tags.get("headstart.opponent", "") if _is(champion, digest) else str(champion.version)


def forerunner(name: str, data: str) -> str:
    """The version that a training on the data set with this digest may go on from; "" if there is none.

    It is the champion, or what that replaced if it was made from the same data: a repeated run begins at the same one.
    """
    champion = alias(name, CHAMPION)
    if champion is None:
        return ""
    return champion.tags.get("headstart.opponent", "") if champion.tags.get(DATA) == data else str(champion.version)


def _is(version: "ModelVersion", digest: str) -> bool:
    return bool(version.tags.get("headstart.digest") == digest)
