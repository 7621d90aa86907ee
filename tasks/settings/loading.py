"""A recipe from a TOML file and overrides, checked with every plugin that it names."""

import difflib
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tasks.runtime import plugins
from tasks.runtime.errors import UsageError, brief
from tasks.runtime.home import expanded
from tasks.settings.data import PROJECT, Validation
from tasks.settings.features import Backbone, Candidate
from tasks.settings.models import FineTune, Head, Tune
from tasks.settings.recipe import Recipe


def load(path: Path, overrides: tuple[str, ...] = ()) -> Recipe:
    """A recipe from a TOML file, with overrides such as `head.options.units=256` on top.

    Plugin names and options are checked against the plugins' signatures. Raises `UsageError` with every problem.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except UnicodeDecodeError:
        raise UsageError(f"{path}: expected a TOML file in UTF-8, found another encoding. Save it as UTF-8.") from None
    except (ValueError, RecursionError) as error:  # Python's own too, for a number of thousands of digits
        raise UsageError(f"{path}: expected a TOML file, found a mistake: {brief(error)}.") from None
    overridden(values, overrides)
    for table, name in ((values, "plugins"), *((values.get("validation"), name) for name in ("own", "context"))):
        _beside(path, table, name)
    plugins.use(values.get("plugins") or "")
    return check(values, str(path))


def overridden(values: dict[str, Any], overrides: tuple[str, ...]) -> dict[str, Any]:
    """The values of a recipe with overrides such as `head.options.units=256` on top; `UsageError` for another form."""
    for override in overrides:
        _set(values, override)
    return values


def check(values: dict[str, Any], where: str) -> Recipe:
    """Values of a recipe as a frozen `Recipe` whose plugins exist and accept their options."""
    try:
        recipe = Recipe.model_validate(values)
    except ValidationError as error:
        raise UsageError(f"{where}: {plugins.explain(error)}{_suggest(error)}") from None
    problems = list(dict.fromkeys(_problems(recipe)))
    if problems:
        raise UsageError(f"{where}: {' '.join(problems)}")
    return recipe


def check_engine(name: str, backend: str) -> None:
    """Raise `UsageError` if there is no such engine, or if it does not run networks of this Keras backend."""
    if name == "auto":
        return
    known = plugins.load("engines", name).BACKENDS
    if backend not in known:
        raise UsageError(
            f"extract.engine: {name} runs networks of the backend {' or '.join(known)}, found backend = {backend!r}. "
            f"Use engine {backend!r} or 'auto'."
        )


def check_weights(backbone: Backbone) -> None:
    """Raise `UsageError` or `DependencyError` if a file of weights is missing, or is not the expected one.

    Which file that is depends on options, so that these are checked first.
    """
    if backbone.weights != "auto" and backbone.kind in plugins.names("backbones"):
        plugins.bind("backbones", backbone.kind, backbone.options, "backbone.options")
        plugins.load("backbones", backbone.kind).weights_digest(backbone.weights, backbone.options)


def check_trained(head: Head, fine_tune: FineTune) -> None:
    """Raise `UsageError` if a head without training should be fine-tuned."""
    known = head.kind in plugins.names("heads")
    if fine_tune.enabled and known and not getattr(plugins.load("heads", head.kind), "TRAINABLE", True):
        raise UsageError(f"fine_tune.enabled: expected false for head {head.kind}, which is not trained.")


def check_tune(tune: Tune, backbone: Backbone) -> None:
    """Raise `UsageError` if a head of the search is not trained, or poolings are tried that it cannot try.

    It takes those of one network from its widest one, and not from a map that must stay whole.
    """
    fixed = [name for name in tune.heads if hasattr(plugins.load("heads", name), "learn")]
    if fixed:
        raise UsageError(f"tune.heads: expected heads that are trained, found {', '.join(fixed)}.")
    if tune.enabled and tune.poolings and backbone.pooling == "none":
        raise UsageError("tune.poolings: expected none with backbone.pooling = 'none', whose heads need the whole map.")
    if tune.enabled and tune.poolings and backbone.beside:
        raise UsageError("tune.poolings: expected none with backbone.beside, whose features are joined in one pooling.")


def check_own(validation: Validation) -> None:
    """Raise `UsageError` if a person's own expectations are not where the recipe says."""
    if validation.own and not any(Path(validation.own).glob("*.json")):
        raise UsageError(
            f"validation.own: expected a folder with suites of Great Expectations, NAME.json, found none in "
            f"{validation.own}."
        )
    if validation.context and not validation.project:
        raise UsageError(
            f"validation.context: expected a project of Great Expectations, with gx/{PROJECT}, found none in "
            f"{validation.context}."
        )
    if validation.context_suites and not validation.context:
        raise UsageError("validation.context_suites: expected none without validation.context.")


def _beside(path: Path, table: Any, name: str) -> None:
    """Make a folder that a table names absolute: it is beside the recipe."""
    if isinstance(table, dict) and isinstance(table.get(name), str) and table[name]:
        table[name] = str(path.absolute().parent / expanded(table[name]))


def _problems(recipe: Recipe) -> Iterator[str]:
    """What is wrong with the plugins that a recipe names, a sentence each."""
    used: list[tuple[str, str, dict[str, Any], str]] = [
        ("sources", recipe.source.kind, recipe.source.options, "source.options"),
        ("heads", recipe.head.kind, recipe.head.options, "head.options"),
    ]
    networks: list[tuple[str, Candidate]] = [("backbone", recipe.backbone)] if recipe.backbone.kind != "auto" else []
    networks += [(f"select.candidates.{place}", each) for place, each in enumerate(recipe.select.candidates)]
    networks += [(f"ladder.backbones.{place}", each) for place, each in enumerate(recipe.ladder.backbones)]
    networks += [(f"backbone.beside.{place}", each) for place, each in enumerate(recipe.backbone.beside)]
    used += [("backbones", each.kind, each.options, f"{where}.options") for where, each in networks]
    used += [("expectations", suite, {}, "validation.suites") for suite in recipe.validation.suites]
    used += [("gates", gate, options, f"gates.{gate}") for gate, options in recipe.gates.items()]
    for kind, name, options, where in used:
        try:
            plugins.bind(kind, name, options, where)
        except UsageError as error:
            yield str(error) if where in str(error) else f"{where.removesuffix('.options')}: {error}"
    for check, parts in (
        (check_engine, (recipe.extract.engine, recipe.backend)),
        (check_weights, (recipe.backbone,)),
        (check_trained, (recipe.head, recipe.fine_tune)),
        (check_tune, (recipe.tune, recipe.backbone)),
        (check_own, (recipe.validation,)),
    ):
        try:
            check(*parts)
        except UsageError as error:
            yield str(error)


def _set(values: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not re.fullmatch(r"[\w-]+(\.[\w-]+)*", key):
        raise UsageError(f"--set: expected KEY=VALUE such as head.options.units=256, found {override!r}.")
    *tables, last = key.split(".")
    for table in tables:
        values = values.setdefault(table, {})
        if not isinstance(values, dict):
            raise UsageError(f"--set {override}: {table} is a value, so it cannot have keys.")
    try:
        values[last] = tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        values[last] = text


def _suggest(error: ValidationError) -> str:
    tables = (getattr(field.annotation, "model_fields", {}) for field in Recipe.model_fields.values())
    known = set(Recipe.model_fields).union(*tables)
    wrong = [str(item["loc"][-1]) for item in error.errors() if item["type"] == "extra_forbidden"]
    close = [match for key in wrong for match in difflib.get_close_matches(key, sorted(known), 1)]
    return f" Did you mean {', '.join(close)}?" if close else ""
