"""Environments: copies of a version in other registered models, such as one for staging and one for production.

The model NAME in the environment ENV is the registered model `ENV.NAME`
(https://mlflow.org/docs/latest/ml/model-registry/workflow/#promoting-an-mlflow-model-across-environments), with its own
champion, `previous` and ledger. A version comes there by MLflow's `copy_model_version`: the files stay one, and so do
seal and signature. It is judged anew, by the gates of its recipe, against the champion of that environment.
"""

import json
import re
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from pydantic import ValidationError

from tasks.data import datasets, splits
from tasks.evaluation import gates, slices, test_set_budget
from tasks.evaluation.gates import Case
from tasks.networks import backend, engines
from tasks.records import GateResult, digest
from tasks.runtime import plugins
from tasks.runtime.errors import DataError, UsageError
from tasks.runtime.home import home
from tasks.services import tracking
from tasks.services.registry import (
    locks,
    predict,
    promotion,
    registered_models,
    registration,
    signing,
    test_sets,
    verification,
    versions,
)
from tasks.services.registry.registered_models import CHAMPION
from tasks.serving import package
from tasks.settings import Gates

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

#: Tag of a copy: the reason that a person gave.
WHY = "headstart.why"
NAME = re.compile("[a-z][a-z0-9]{0,19}")


@dataclass(frozen=True)
class Copied:
    """What became of a version in another environment."""

    model: str
    version: str
    #: NAME/VERSION of the version that was trained.
    copy_of: str
    decision: str
    reason: str
    #: Why it is not the champion yet; empty if it is, or if the gates are undecided.
    note: str
    champion: bool

    def summary(self) -> dict[str, Any]:
        """All fields, as JSON values."""
        return asdict(self)


def promote(name: str, version: str, environment: str, why: str = "", force: bool = False) -> Copied:
    """Judge a version against the champion of another environment, and copy it there if no gate fails.

    The copy is the `challenger` there, and the champion if the gates say `promote` and the recipe asks for no person's
    approval. Raises `DataError` if a gate fails, if the version's files are not as registered, or if it was rolled back
    where it comes from; nothing was copied then. `force` is refused: the gates of an environment are always asked.
    """
    if force:
        raise UsageError("--to: expected no --force beside it: the gates of an environment are always asked.")
    found = versions.version_of(name, version)
    model, number = registration.origin(found)
    to = _address(model, environment)
    if to == name:
        raise UsageError(f"--to: expected another environment than that of {name}. headstart promote {name} {version}")
    if taken_back := promotion.taken_back(name, version):
        raise DataError(
            f"Expected a version that nobody took back, found that {name} version {version} was rolled back in entry "
            f"{taken_back.number} of the ledger ({taken_back.why or 'no reason'}). Nothing was copied. If that was a "
            f"mistake, make it the champion there again first: headstart promote {name} {version} --force."
        )
    sealed = _Sealed(found, versions.metadata(name, version))
    settings = sealed.recipe()
    backend.use(settings.get("backend", "tensorflow"))
    versions.verify(name, version)
    opponent = registered_models.opponent(to, found.tags[promotion.MODEL])
    judged = _Judged(sealed, versions.version_of(to, opponent) if opponent else None, settings)
    with tracking.run(model, "promote", settings | {"environment": environment, "version": number}):
        decision, reason, results = judged.known or judged.compared()
        outcome = f"{why}. {decision}: {reason}".removeprefix(". ")
        tracking.describe(f"Version {number} for the environment {environment}. {outcome}")
    if decision == "keep":
        raise DataError(
            f"Expected {name} version {version} to pass the gates of its recipe for {to}, found: {reason}. Nothing was "
            "copied."
        )
    tags = {
        "headstart.gate": decision,
        "headstart.gate_reason": reason,
        "headstart.opponent": opponent,
        versions.NOTE: "",
        WHY: why,
    } | {f"{promotion.GATE}{result.gate}": result.outcome for result in results}
    registered_models.create(to)
    with locks.held(registered_models.address(), to):
        copy = registration.copy(found, to, tags)
    if registered_models.aliases_of(to).get(CHAMPION) != copy:
        approval = bool(settings.get("promotion", {}).get("approval"))
        try:
            promotion.introduce(to, copy, decision, f"{reason} [copy of {model}/{number}] {why}".strip(), approval)
        except DataError as error:
            again = f"headstart promote {name} {version} --to {environment}"
            raise DataError(f"{error} To have it judged again: {again}") from None
    made = versions.version_of(to, copy).tags.get(versions.NOTE, "")
    first = registered_models.aliases_of(to).get(CHAMPION) == copy
    return Copied(to, copy, f"{model}/{number}", decision, reason, made, first)


class _Sealed:
    """A version with what its run has kept of its training: recipe and tables, which the seal of the version covers."""

    def __init__(self, version: "ModelVersion", metadata: dict[str, Any]) -> None:
        self.version = version
        self.classes = tuple(metadata["classes"])
        self._digests: dict[str, str] = metadata.get(versions.SENT, {})

    def recipe(self) -> dict[str, Any]:
        """All settings of the run that made it."""
        text = tracking.text(self.version.run_id or "", tracking.RECIPE, self._digest(tracking.RECIPE))
        if text is None:
            raise _older(self.version)
        return dict(json.loads(text))

    def table(self, name: str) -> pd.DataFrame:
        """A table of the run that made it."""
        found = tracking.table(self.version.run_id, name, self._digest(name))
        if found is None:
            raise _older(self.version)
        return found

    def _digest(self, name: str) -> str:
        if name not in self._digests:
            raise _older(self.version)
        return self._digests[name]


class _Judged:
    """A version beside the champion of an environment, if there is one, on the version's test images."""

    def __init__(self, sealed: _Sealed, champion: "ModelVersion | None", recipe: dict[str, Any]) -> None:
        self.sealed, self.found, self.champion = sealed, sealed.version, champion
        try:
            terms = {name: recipe[name] for name in ("gates", "decision", "slices", "seed")}
            self.settings = Gates.model_validate(terms | {"model": self.found.name})
        except (KeyError, ValidationError):
            raise _older(self.found) from None
        plugins.use(recipe.get("plugins") or "")

    @property
    def known(self) -> tuple[str, str, list[GateResult]] | None:
        """What the gates said when the two were compared after training: the same question is not asked again."""
        name, number = registration.origin(self.found)
        trained = versions.find(name, number)
        tags = trained.tags if trained else {}
        before = tags.get("headstart.opponent")
        if not before or self.champion is None or registration.origin(self.champion) != (name, before):
            return None
        results = [
            GateResult(tag.removeprefix(promotion.GATE), outcome, "", {})
            for tag, outcome in tags.items()
            if tag.startswith(promotion.GATE)
        ]
        return tags["headstart.gate"], tags["headstart.gate_reason"], results

    def compared(self) -> tuple[str, str, list[GateResult]]:
        """What the gates say now: the decision, the reason, and each gate's result."""
        settings = self.settings
        every, tested = (self.sealed.table(name) for name in (versions.DATA, versions.TEST))
        rival = registration.origin(self.champion) if self.champion else None
        asked = digest("environment", registration.origin(self.found), rival, settings)
        with tracking.stage("gate", asked, settings.model_dump()):
            case = self._case(every, tested, test_sets.worn(tested, asked))
            results = gates.run(settings.gates, case)
            test_sets.use(case, tested)
            return *gates.decide(results, case.test_share), list(results)

    def _case(self, every: pd.DataFrame, tested: pd.DataFrame, worn: int) -> Case:
        settings, decision, classes = self.settings, self.settings.decision, self.sealed.classes
        at, unit = (every["split"] == "test").to_numpy(), every["unit"].to_numpy()
        champion = unseen = known = None
        if self.champion:
            name, version = self.champion.name, self.champion.version
            try:
                champion, known = predict.score(name, version, datasets.contents(tested), classes)
            except (FileNotFoundError, DataError) as error:
                raise DataError(
                    f"Expected the {len(tested)} test photos of {self.found.name} version {self.found.version} on this "
                    f"machine, as they were when it was tested, to ask {name} version {version} about them. {error}"
                ) from None
            unseen = splits.unseen(every, unit, versions.data_of(name, version))[at]
        return Case(
            labels=datasets.labels(tested, classes),
            classes=classes,
            challenger=np.stack(tested["probabilities"].to_list()),
            champion=champion,
            level=test_set_budget.level(decision.significance, worn),
            next_level=test_set_budget.level(decision.significance, worn + 1),
            power=decision.power,
            test_share=float(at.mean()),
            slices=slices.masks(slices.test_values(every, settings.slices)),
            latency=partial(_milliseconds, self.found.name, self.found.version),
            seed=settings.seed,
            groups=unit[at],
            unseen=unseen,
            known=known,
        )


def _address(model: str, environment: str) -> str:
    """The registered model of another environment. Raises `UsageError` for a name that is none, or is taken."""
    if not NAME.fullmatch(environment):
        raise UsageError(
            f"--to: expected the name of an environment, such as staging: at most 20 small letters and digits, a "
            f"letter first. Found {environment!r}."
        )
    to = f"{environment}{signing.ENVIRONMENT}{model}"
    if any(registration.COPY_OF not in version.tags for version in registered_models.versions(to)):
        raise UsageError(
            f"--to: expected {to} to hold copies of versions of {model} alone, found versions that were trained as "
            f"{to}. Choose another environment."
        )
    return to


def _milliseconds(name: str, version: str) -> float:
    """Median time for one prepared image, after warm-up."""
    with verification.opened(name, version, versions.seal(name, version)) as folder:
        served = package.read(verification.served(folder))
        size = served.spec.images["size"]
        engine = engines.own(lambda: served.network, home())
        return float(np.median(engines.milliseconds(engine, np.zeros((1, size, size, 3), np.uint8))))


def _older(found: "ModelVersion") -> UsageError:
    return UsageError(
        f"Expected {found.name} version {found.version} with its recipe, test images and answers, as headstart train "
        "registers it today, found a version of an older release, or one whose run was deleted. Train it again."
    )
