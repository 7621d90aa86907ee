"""Detect changes: is enough new since the newest version to consider training again?"""

from tasks.data import changes, datasets
from tasks.records import ChangesRef, DatasetRef, digest
from tasks.services import tracking
from tasks.services.orchestration.stage import stage
from tasks.services.registry import versions
from tasks.settings import Retrain


def _state(name: str) -> tuple[str, int]:
    """The newest version, and how many checks since the last training have ended without one."""
    return versions.newest(name), tracking.skipped(name)


@stage(version=2, reads=lambda dataset, settings, name: _state(name))
def detect_changes(dataset: DatasetRef, settings: Retrain, name: str) -> ChangesRef:
    """What is new, and `train` or `skip` if that is enough to decide; "" if `assess_changes` must decide."""
    version, skips = _state(name)
    address = digest("changes", dataset, settings, name, version, skips)
    if not version:
        return ChangesRef(address, "train", "there is no version yet", "", 0, 0, 0, skips)
    before = versions.data_of(name, version)
    if before is None:
        return ChangesRef(address, "train", f"the data of version {version} are not known", version, 0, 0, 0, skips)
    found = changes.between(before, datasets.rows(dataset))
    decision, reason = decided(found, settings, version, skips)
    counts = len(found.new), len(found.relabelled), found.removed
    return ChangesRef(address, decision, reason, version, *counts, skips)


def decided(found: changes.Changes, settings: Retrain, version: str, skips: int) -> tuple[str, str]:
    """`train`, `skip`, or "" for `assess_changes` to decide, and why; `skips`: checks in a row without a training."""
    since = f"{found.sentence} since version {version}"
    if not found:
        return "skip", f"nothing is new since version {version}"
    if settings.force_after and skips >= settings.force_after:
        checks = "1 check has" if skips == 1 else f"{skips} checks in a row have"
        return "train", f"{checks} skipped training, the limit of retrain.force_after ({since})"
    if found.count < settings.min_new:
        return "skip", f"{since}: fewer than retrain.min_new = {settings.min_new}"
    if found.classes:  # the version is wrong about each of their images
        return "train", since
    return "", since
