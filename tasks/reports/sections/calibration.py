"""The page's section on calibration, prediction sets, selective prediction and novelty."""

from tasks.records import CalibrationRef, CalibrationReport, CalibrationTerms, Coverage, Report
from tasks.reports.blocks import Block, Items, table


def section(calibration: CalibrationRef, report: Report) -> list[Block]:
    """The sentences, and how often prediction sets contain the label, for each class."""
    held = report.calibration
    columns = {"images": True, "label in the set": True, "95 % interval": True}
    rows = [_row(each) for each in (held.coverage, *held.classes)]
    return [Items(sentences(calibration, report)), table({"class": False} | columns, rows)]


def sentences(calibration: CalibrationRef, report: Report) -> tuple[str, ...]:
    """What was fitted on the validation images, and how it holds on the test images."""
    terms, held = calibration.terms, report.calibration
    novelty = "The network does not expose its features: no image is marked as novel."
    if held.novel is not None:
        novelty = (
            f"An image is novel if it is farther from the training images than {1 - terms.false_alarms:.0%} of the "
            f"validation images: {calibration.novel:.1%} of those, {held.novel:.1%} of the test images."
        )
    return (
        f"Temperature {terms.temperature:.3f}, fitted on {calibration.images} validation images: calibration error "
        f"{held.uncalibrated_ece:.4f} before and {report.metrics['ece']:.4f} after, on the test images, without what "
        "chance adds to it.",
        f"Prediction sets aim to contain the label with probability {terms.coverage:.0%} in every class: "
        f"{held.coverage.value:.1%} of the test images' sets do, with {held.set_size:.2f} classes on average.",
        *_abstention(terms, held),
        *terms.notes,
        novelty,
    )


def _abstention(terms: CalibrationTerms, held: CalibrationReport) -> tuple[str, ...]:
    if terms.sure_from is None or held.answered is None or held.precision is None:
        return ()
    return (
        f"The model abstains below {terms.sure_from:.1%} confidence, so that {terms.precision:.0%} of its answers are "
        f"right, which the validation images confirm: {held.answered:.1%} of the test images are answered, "
        f"{held.precision:.1%} of them right ({held.precision_interval[0]:.1%} to {held.precision_interval[1]:.1%}).",
    )


def _row(found: Coverage) -> tuple[str, ...]:
    low, high = found.interval
    return found.name, str(found.images), f"{found.value:.1%}", f"{low:.1%} to {high:.1%}"
