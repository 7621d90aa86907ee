"""The result of a whole run."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from tasks.records import base
from tasks.records.audit import AuditRef
from tasks.records.base import StageLog
from tasks.records.data import DatasetRef
from tasks.records.decision import Verdict
from tasks.records.evaluation import CalibrationRef, Report
from tasks.records.features import AgreementRef, RankingRef, TransferRef
from tasks.records.models import LadderRef, ModelRef, TunedRef
from tasks.records.release import PageRef, VersionRef
from tasks.records.retraining import AssessmentRef, ChangesRef
from tasks.records.search import SearchRef
from tasks.runtime.home import home


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What a run found, for its report and its summary."""

    dataset: DatasetRef
    model: ModelRef
    ladder: LadderRef
    transfer: TransferRef
    calibration: CalibrationRef
    report: Report
    verdict: Verdict
    version: VersionRef
    #: If the recipe has an effort.
    search: SearchRef | None = None
    #: If the recipe left the backbone open.
    ranking: RankingRef | None = None
    #: If the recipe asked for a search.
    tuned: TunedRef | None = None
    audit: AuditRef | None = None

    @property
    def digest(self) -> str:
        """Digest of all fields."""
        return base.digest("findings", *(getattr(self, field.name) for field in dataclasses.fields(Findings)))


@dataclass(frozen=True, kw_only=True)
class Outcome(Findings):
    """The result of a training run; the command prints it."""

    run_id: str
    page: PageRef
    stages: dict[str, StageLog]
    seconds: float
    agreement: AgreementRef | None = None
    #: The recipe with everything that was chosen, without its defaults.
    recipe: dict[str, Any] = dataclasses.field(default_factory=dict)

    def summary(self) -> dict[str, Any]:
        """The JSON object that `headstart train --json` prints."""
        return {
            "run_id": self.run_id,
            "model": self.version.name,
            "version": self.version.version,
            "aliases": list(self.version.aliases),
            "note": self.version.note,
            "decision": self.verdict.decision,
            "reason": self.verdict.reason,
            "gates": [dataclasses.asdict(result) for result in self.verdict.gates],
            "test_set": {"worn": self.verdict.worn, "level": self.verdict.level},
            "rung": self.model.rung,
            "recipe": self.recipe,
            "search": self.search.summary() if self.search else None,
            "backbones": [dataclasses.asdict(row) for row in self.ranking.rows] if self.ranking else [],
            "tuned": dataclasses.asdict(self.tuned) if self.tuned else None,
            "ladder": [score.summary() for score in self.ladder.scores],
            "transfer": dataclasses.asdict(self.transfer),
            "metrics": {name: round(value, 6) for name, value in self.report.metrics.items()},
            "intervals": {name: [round(end, 6) for end in ends] for name, ends in self.report.intervals.items()},
            "independent_images": self.report.independent,
            "intervals_by_images": {
                name: [round(end, 6) for end in ends] for name, ends in self.report.by_images.items()
            },
            "calibration": self.calibration.terms.summary() | {"test": self.report.calibration.summary()},
            "time": self.report.time.summary() if self.report.time else None,
            "slices": self.report.slices_summary(),
            "audit": self.audit.summary() if self.audit else None,
            "stages": {name: dataclasses.asdict(log) for name, log in self.stages.items()},
            "seconds": round(self.seconds, 3),
            "report": (home() / self.page.path).as_uri(),
            "figures": (home() / self.report.path).parent.as_uri(),
        } | self.dataset.summary()


@dataclass(frozen=True)
class Retraining:
    """The result of a check of the data."""

    recipe: str
    decision: str
    reason: str
    #: What started the check: a schedule, new data, a person.
    why: str
    changes: ChangesRef
    assessment: AssessmentRef | None
    #: If there was a training.
    outcome: "Outcome | None" = None

    def summary(self) -> dict[str, Any]:
        """The JSON object that `headstart retrain --json` prints."""
        assessment = dataclasses.asdict(self.assessment) if self.assessment else None
        if self.assessment and assessment and self.assessment.drift:
            assessment |= {"drift": self.assessment.drift.summary()}
        basics = {name: getattr(self, name) for name in ("recipe", "decision", "reason", "why")}
        trained = self.outcome.summary() if self.outcome else None
        return basics | {"changes": dataclasses.asdict(self.changes), "assessment": assessment, "trained": trained}
