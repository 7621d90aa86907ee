"""The search for features, as a CSV file, a table in the terminal, and a part of the page."""

from collections.abc import Sequence
from typing import Any

from tasks.records import RaceRef, SearchRef, Trial
from tasks.reports.blocks import Block, Text, of_rows


def trials(found: SearchRef | RaceRef) -> list[dict[str, Any]]:
    """A row for each trial, in their order."""
    return [
        {
            "tried": trial.name,
            "log loss": f"{trial.log_loss:.3f}" if trial.log_loss else "",
            "accuracy": f"{trial.accuracy:.1%}" if trial.log_loss else "",
            "gain in log loss": _gain(trial),
            "photos a second, one view": trial.images_per_second or "",
            "seconds": round(trial.seconds, 1) or "",
            "result": "kept" if trial.taken else trial.reason or _missed(trial),
        }
        for trial in found.trials
    ]


def sentence(found: SearchRef) -> str:
    """What was chosen, why, and what it will take."""
    if found.reason.startswith("repeats"):
        return f"{_chosen(found)}. This {found.reason}, whose search still holds for these data."
    if not found.images:
        return (
            f"{_chosen(found)}. These follow from the photos' sizes; nothing was tried, as the time is short. "
            'effort = "standard" takes four minutes and also tries views, poolings, sizes and further networks.'
        )
    first, last = _ends(found)
    said = f"{_chosen(found)}. In cross-validation on {found.images} training images, "
    if not first or not last:
        return f"{_chosen(found)}. Nothing could be compared: {found.reason}."
    if first is last:
        return said + f"nothing that was tried gained on the first log loss, {first.log_loss:.3f}. {_end(found)}"
    said += f"the log loss went from {first.log_loss:.3f} to {last.log_loss:.3f}, and accuracy from "
    return said + f"{first.accuracy:.1%} to {last.accuracy:.1%}. {_end(found)}"


def section(found: SearchRef | None) -> list[Block]:
    """The choice, and every trial; empty without a search."""
    if found is None:
        return []
    said = Text(sentence(found))
    if not found.trials:
        return [said]
    explained = (
        "Each trial changes one thing of the best before it; views that show the same are tried together. A gain "
        "above 0 means a lower log loss; it comes with its 95 % interval. What makes every photo take longer must gain "
        "more than half of its standard error, and the more the longer it takes, as less time is left for fine-tuning. "
        "Views are kept unless they surely harm: they help more where all images are trained on, and most in "
        "fine-tuning. The same photos chose each step, so that the whole gain is somewhat flattered. "
        "`headstart train RECIPE --write FILE` keeps what was chosen as a recipe."
    )
    return [said, Text(explained), of_rows(trials(found))]


def races(found: Sequence[RaceRef]) -> list[Block]:
    """The races for the settings of rungs, and every trial of each; empty without one."""
    blocks: list[Block] = []
    for each in found:
        blocks.append(Text(race(each)))
        if each.trials:
            blocks.append(of_rows(trials(each)))
    return blocks


def race(found: RaceRef) -> str:
    """What a race tried, and what it changed."""
    if not found.trials:
        return f"Settings of {found.rung}: none were tried; too few training images of two classes could judge them."
    tried = [trial for trial in found.trials if trial.log_loss]
    said = (
        f"Settings of {found.rung}: {len(tried)} short trainings on {found.images} training images, judged on "
        f"{found.judged} others. "
    )
    better = [trial.name for trial in tried[1:] if trial.taken]
    return said + (f"Better than what was given: {', then '.join(better)}." if better else "None was surely better.")


def _gain(trial: Trial) -> str:
    return f"{trial.gain.value:+.3f} ({trial.gain.low:+.3f} to {trial.gain.high:+.3f})" if trial.gain else ""


def _missed(trial: Trial) -> str:
    return f"needed more than {trial.needed:+.3f}" if trial.needed is not None else "not better"


def _ends(found: SearchRef) -> tuple[Trial | None, Trial | None]:
    """The first trial and the one that was taken last."""
    taken = [trial for trial in found.trials if trial.taken]
    return (taken[0], taken[-1]) if taken else (None, None)


def _end(found: SearchRef) -> str:
    return f"The search took {found.seconds:.0f} seconds and ended because {found.reason}. {_more(found)}"


def _more(found: SearchRef) -> str:
    """What more time would probably give: it rarely gives more than what was taken last."""
    late = {trial.name: trial for trial in found.trials if trial.late}
    gains = [trial.gain.value for trial in found.trials if trial.taken and trial.gain]
    if not late:
        return "Nothing was left out for want of time: more of it would gain only by what a larger effort adds."
    names = [f"{name} (which gained {each.gain.value:.3f})" if each.gain else name for name, each in late.items()]
    left = f"For want of time these were left out: {'; '.join(names)}."
    if gains and not all(each.gain for each in late.values()):
        left += f" What they would gain is not known; the last step that was taken gained {gains[-1]:.3f}."
    return f"{left} What fine-tuning gained is told under Ladder."


def _chosen(found: SearchRef) -> str:
    """The settings in words."""
    words = []
    images, backbone = found.chosen.get("images", {}), found.chosen.get("backbone", {})
    if "size" in images:
        words.append(f"photos of {images['size']} pixels")
    if "fit" in images:
        words.append({"crop": "cut to squares", "pad": "padded to squares"}.get(images["fit"], "squashed to squares"))
    if "views" in images and len(images["views"]) > 1:
        others = [view.replace("_", " ") for view in images["views"] if view != "identity"]
        words.append(f"trained on as they are and in {len(others)} further views ({', '.join(others)})")
    if "pooling" in backbone:
        words.append(f"pooling {backbone['pooling']}")
    if backbone.get("beside"):
        words.append(f"{len(backbone['beside'])} further network{'s' * (len(backbone['beside']) > 1)} joined")
    return ("Chosen: " + ", ".join(words)) if words else "Nothing was open to choose"
