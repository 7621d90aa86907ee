"""Every setting of a run: checked once, here, then frozen. A recipe is a TOML file of changes to the defaults."""

from tasks.settings.base import Settings, Share, StageSettings
from tasks.settings.curves import Compare, Method
from tasks.settings.data import PROJECT, Audit, Images, Labels, Source, Split, Validation, View
from tasks.settings.effort import BUDGETS, Budget, FeatureSearch, budget
from tasks.settings.evaluation import Calibration, Decision, Evaluation, Gates, Slices
from tasks.settings.features import Backbone, Beside, Candidate, Extract, Extraction, Pooling, Select, TransferCheck
from tasks.settings.loading import check, check_engine, check_trained, check_tune, check_weights, load
from tasks.settings.models import (
    TUNED,
    FineTune,
    Head,
    HeadSearch,
    HeadTraining,
    Ladder,
    Loss,
    NetworkTraining,
    Rung,
    ScratchTraining,
    Training,
    Tune,
    Tuning,
    WarmStart,
    Whole,
)
from tasks.settings.recipe import Observe, Recipe
from tasks.settings.release import Promotion, Release, Scoring
from tasks.settings.retraining import Retrain

__all__ = [
    "BUDGETS",
    "PROJECT",
    "TUNED",
    "Audit",
    "Backbone",
    "Beside",
    "Budget",
    "Calibration",
    "Candidate",
    "Compare",
    "Decision",
    "Evaluation",
    "Extract",
    "Extraction",
    "FeatureSearch",
    "FineTune",
    "Gates",
    "Head",
    "HeadSearch",
    "HeadTraining",
    "Images",
    "Labels",
    "Ladder",
    "Loss",
    "Method",
    "NetworkTraining",
    "Observe",
    "Pooling",
    "Promotion",
    "Recipe",
    "Release",
    "Retrain",
    "Rung",
    "Scoring",
    "ScratchTraining",
    "Select",
    "Settings",
    "Share",
    "Slices",
    "Source",
    "Split",
    "StageSettings",
    "Training",
    "TransferCheck",
    "Tune",
    "Tuning",
    "Validation",
    "View",
    "WarmStart",
    "Whole",
    "budget",
    "check",
    "check_engine",
    "check_trained",
    "check_tune",
    "check_weights",
    "load",
]
