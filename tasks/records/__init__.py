"""The records that stages pass on: paths, digests and numbers, never arrays or models.

Paths are relative to the home folder, so that a home can be moved. A record's `digest` identifies the content that it
refers to; it is part of the next stage's cache key.
"""

from tasks.records.audit import AuditRef, DuplicatePair, LabelSuspect, Shortcut
from tasks.records.base import OLDER, SPLITS, Gain, Record, StageLog, digest
from tasks.records.curves import SCRATCH, TRANSFER, Comparison, CurvesRef, Gap, Level, PointRef
from tasks.records.data import PREFIX, Corrections, DatasetRef, FactsRef, ImagesRef
from tasks.records.decision import GateResult, Verdict
from tasks.records.evaluation import (
    CalibrationRef,
    CalibrationReport,
    CalibrationTerms,
    ClassScore,
    Coverage,
    Report,
    SliceScore,
    TimeGap,
    TimeSample,
)
from tasks.records.features import AgreementRef, FeaturesRef, Predicted, RankedBackbone, RankingRef, TransferRef
from tasks.records.models import (
    LadderRef,
    ModelCost,
    ModelRef,
    ModelScores,
    Origin,
    RungScore,
    TrainingLog,
    TunedRef,
    WarmRef,
)
from tasks.records.outcome import Findings, Outcome, Retraining
from tasks.records.release import LedgerEntry, PageRef, ScoresRef, VersionRef
from tasks.records.retraining import Accuracy, AssessmentRef, ChangesRef, Drift
from tasks.records.search import RaceRef, SearchRef, Trial

__all__ = [
    "OLDER",
    "PREFIX",
    "SCRATCH",
    "SPLITS",
    "TRANSFER",
    "Accuracy",
    "AgreementRef",
    "AssessmentRef",
    "AuditRef",
    "CalibrationRef",
    "CalibrationReport",
    "CalibrationTerms",
    "ChangesRef",
    "ClassScore",
    "Comparison",
    "Corrections",
    "Coverage",
    "CurvesRef",
    "DatasetRef",
    "Drift",
    "DuplicatePair",
    "FactsRef",
    "FeaturesRef",
    "Findings",
    "Gain",
    "Gap",
    "GateResult",
    "ImagesRef",
    "LabelSuspect",
    "LadderRef",
    "LedgerEntry",
    "Level",
    "ModelCost",
    "ModelRef",
    "ModelScores",
    "Origin",
    "Outcome",
    "PageRef",
    "PointRef",
    "Predicted",
    "RaceRef",
    "RankedBackbone",
    "RankingRef",
    "Record",
    "Report",
    "Retraining",
    "RungScore",
    "ScoresRef",
    "SearchRef",
    "Shortcut",
    "SliceScore",
    "StageLog",
    "TimeGap",
    "TimeSample",
    "TrainingLog",
    "TransferRef",
    "Trial",
    "TunedRef",
    "Verdict",
    "VersionRef",
    "WarmRef",
    "digest",
]
