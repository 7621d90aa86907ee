"""Promotion, rollback and fingerprints, on versions that need no TensorFlow; and what is left when a process dies."""

import json
import re
import time
from concurrent.futures import ThreadPoolExecutor

import helpers
import pytest
import tiny_versions
from trouble import crowd

from flows.promote import ask, promote
from tasks.runtime import processes
from tasks.runtime.errors import DataError, DependencyError, UsageError
from tasks.services import tracking
from tasks.services.registry import ledger, locks, promotion, registered_models, versions
from tasks.serving import golden


def aliases(name):
    return registered_models.aliases_of(name)


def actions(name):
    return [entry.action for entry in ledger.entries(name)]


@pytest.fixture
def pair(request, home):
    """A model of this test's name with version 1, the champion, and version 2, compared with it."""
    name = re.sub(r"\W+", "-", request.node.name)[:90]
    promotion.promote(name, tiny_versions.register(name, opponent=""), "the first")
    tiny_versions.register(name, 5.0, opponent="1")
    return name


def test_a_promotion_moves_the_aliases_and_says_who_when_and_why(pair):
    entry = promotion.promote(pair, "2", "better\nlight")
    assert aliases(pair) == {"champion": "2", "previous": "1"}
    assert ledger.entries(pair)[-1] == entry
    assert (entry.number, entry.action, entry.before, entry.after, entry.why) == (
        2,
        "promote",
        "1",
        "2",
        "better light",
    )
    assert entry.who == ledger.user()
    assert tracking.client().get_run(entry.evidence).data.tags["headstart.flow"] == "train"
    assert promotion.promote(pair, "2") is None
    assert len(ledger.entries(pair)) == 2


def test_a_rollback_goes_back_and_a_second_one_forth(pair):
    promotion.promote(pair, "2")
    promotion.rollback(pair, "too dark")
    assert aliases(pair) == {"champion": "1", "previous": "2"}
    promotion.rollback(pair)
    assert aliases(pair) == {"champion": "2", "previous": "1"}
    assert actions(pair) == ["promote", "promote", "rollback", "rollback"]


def test_without_a_previous_there_is_no_rollback(pair):
    with pytest.raises(DataError, match="nothing to roll back to"):
        promotion.rollback(pair)
    with pytest.raises(UsageError, match="found none named nothing"):
        promotion.rollback("nothing")
    with pytest.raises(UsageError, match="found no 7"):
        promotion.promote(pair, "7")


def test_a_champion_that_moved_since_the_evaluation_is_not_replaced(pair):
    tiny_versions.register(pair, 6.0, opponent="1")
    promotion.promote(pair, "2")
    with pytest.raises(
        DataError, match=r"version 1 as champion .* version 3 was compared, found version 2 as champion"
    ):
        promotion.promote(pair, "3")
    assert aliases(pair) == {"champion": "2", "previous": "1", "challenger": "3"}
    assert "[forced]" in promotion.promote(pair, "3", force=True).why
    assert aliases(pair) == {"champion": "3", "previous": "2"}


def test_what_fails_half_way_is_undone_and_told(pair, monkeypatch):
    def breaks(name, entry):
        monkeypatch.undo()
        raise OSError("no answer")

    monkeypatch.setattr(ledger, "write", breaks)
    with pytest.raises(DependencyError, match=r"no answer.*aliases are as they were before: challenger 2, champion 1"):
        promotion.promote(pair, "2")
    assert aliases(pair) == {"champion": "1", "challenger": "2"}
    assert actions(pair) == ["promote", "repair"]
    assert promotion.repair(pair) == ""


def test_processes_that_promote_at_once_leave_one_champion_and_a_ledger_without_a_gap(home):
    name = "crowded"
    numbers = [tiny_versions.register(name, 3.0 + number, opponent="") for number in range(4)]
    assert crowd.race(name, numbers, 3) == []
    assert len(ledger.entries(name)) >= 1 + 3 + 1


@pytest.mark.parametrize("point", [(2, "before"), (3, "after"), (5, "before"), (5, "after")])
def test_the_next_one_repairs_what_a_killed_promotion_left(pair, point):
    name = pair
    bad = tiny_versions.register(name, 6.0, opponent="1")
    spoil(tiny_versions.files(name, bad) / "MLmodel")
    registered_models.place(name, {"champion": "1", "challenger": "2"})
    before = aliases(name)
    number = len(ledger.entries(name))
    crowd.kill(name, ["2"], bad, point)
    assert bad not in aliases(name).values()
    said = promotion.repair(name)
    assert "The promote of" in said
    assert "interrupted" in said
    done = point == (5, "after")
    assert aliases(name) == ({"champion": "2", "previous": "1"} if done else before)
    assert actions(name)[number:] == (["promote"] if done else ["repair"])
    assert crowd.disorder(name) == []
    assert promotion.repair(name) == ""


def spoil(file, place=100):
    """Change one byte in a file."""
    data = bytearray(file.read_bytes())
    data[place] ^= 1
    file.write_bytes(bytes(data))


@pytest.mark.parametrize("file", ["tiny_model.py", "MLmodel", "golden/0.image", "manifest.json", "requirements.txt"])
def test_one_byte_that_changed_is_found_and_nothing_is_run(pair, file):
    changed = next(found for found in tiny_versions.files(pair, "2").rglob("*") if found.as_posix().endswith(file))
    spoil(changed, 40)
    with pytest.raises(DataError, match=rf"{file}: expected SHA-256 \w+…, found"):
        versions.verify(pair, "2")
    with pytest.raises(DataError, match="Do not use it"):
        promotion.promote(pair, "2", force=True)
    assert aliases(pair) == {"champion": "1", "challenger": "2"}
    assert versions.verify(pair, "1")["images"] == 4


@pytest.mark.parametrize(("part", "changed"), [("decoder", {"size": 32}), ("network", {"weight": 5.2})])
def test_preprocessing_or_weights_that_changed_are_found_by_the_answers(pair, part, changed):
    (file,) = tiny_versions.files(pair, "2").rglob(f"{part}.json")
    file.write_text(json.dumps(changed))
    tiny_versions.sealed_again(pair, "2")
    with pytest.raises(DataError, match=r"golden/\d\.image: probability of \w+ expected 0\.\d{4}, found 0\.\d{4}"):
        versions.verify(pair, "2")


def test_files_that_are_gone_or_new_are_named(pair):
    folder = tiny_versions.files(pair, "2")
    (folder / "more.txt").write_text("more")
    (folder / "requirements.txt").unlink()
    with pytest.raises(DataError, match=r"more\.txt was not there .*; requirements\.txt is missing"):
        versions.verify(pair, "2")


def test_golden_images_are_the_least_certain_of_each_class_in_turn(tmp_path):
    found = golden.order(tiny_versions.predictions(tmp_path, 4.0))
    certainty = found["probabilities"].map(lambda p: abs(p[0] - p[1]))
    assert sorted(found["label"][:2]) == sorted(found["label"][2:4]) == ["dark", "light"]
    for label in tiny_versions.CLASSES:
        assert certainty[found["label"] == label].is_monotonic_increasing


def test_large_and_changed_images_are_passed_over(tmp_path, monkeypatch):
    rows = tiny_versions.predictions(tmp_path, 4.0)
    monkeypatch.setattr(golden, "LARGEST", 300)
    first, second = golden.order(rows)["uri"][:2]
    helpers.Path(first).write_bytes(b"x" * 301)
    helpers.Path(second).write_bytes(b"changed")
    golden.write(tmp_path / "golden", rows, tiny_versions.CLASSES, 64, 1e-3)
    assert golden.count(tmp_path / "golden") == 10
    monkeypatch.setattr(golden, "LARGEST", 1)
    golden.write(tmp_path / "smallest", rows, tiny_versions.CLASSES, 8, 1e-3)
    assert golden.count(tmp_path / "smallest") == 1


def test_a_model_that_does_not_answer_as_it_was_scored_becomes_no_version(home, monkeypatch):
    scored = tiny_versions.predictions
    monkeypatch.setattr(tiny_versions, "predictions", lambda folder, weight: scored(folder, weight + 1))
    with pytest.raises(DataError, match="It is not registered"):
        tiny_versions.register("unlike")
    assert not registered_models.known("unlike")


def test_a_model_that_was_taken_back_waits_for_a_person(pair):
    tracking.client().set_model_version_tag(pair, "2", "headstart.digest", "a")
    promotion.promote(pair, "2")
    promotion.rollback(pair, "too dark")
    again = tiny_versions.register(pair, 5.0, digest="a", opponent="1")
    promotion.introduce(pair, again, "promote", "better", approval=False)
    assert aliases(pair) == {"champion": "1", "previous": "2", "challenger": again}
    note = versions.version_of(pair, again).tags[versions.NOTE]
    assert note == f"waits, since its model was rolled back in entry 3 of the ledger (too dark): {command(pair, again)}"
    assert promotion.taken_back(pair, again)
    promotion.promote(pair, again)
    assert versions.version_of(pair, again).tags[versions.NOTE] == ""
    # A person has decided for this model anew, whichever of its versions it is.
    assert promotion.taken_back(pair, again) is promotion.taken_back(pair, "2") is None
    promotion.promote(pair, "2", force=True)
    assert promotion.taken_back(pair, again) is promotion.taken_back(pair, "2") is None
    promotion.promote(pair, "1", force=True)
    assert promotion.taken_back(pair, again).number == 6


def test_the_same_run_computed_again_may_replace_itself(pair):
    for version in ("1", "2"):
        tracking.client().set_model_version_tag(pair, version, "headstart.digest", "a")
    tracking.client().set_model_version_tag(pair, "2", "headstart.opponent", "")
    assert promotion.promote(pair, "2").before == "1"


#: Where the lock is made of tags. Nothing answers there: the tests' own registry keeps the tags.
REMOTE = "http://127.0.0.1:9"
ELSEWHERE = "elsewhere/000000000000/11111111-2222/4026531836/7/7"


@pytest.fixture
def hasty(monkeypatch):
    for which, seconds in (("WAIT", 0.5), ("LEASE", 60), ("PAUSE", 0.02)):
        monkeypatch.setattr(locks, which, seconds)


def flags(name):
    return [tag for tag in tracking.client().get_registered_model(name).tags if tag.startswith(locks.FLAG)]


def test_with_a_tracking_server_one_at_a_time_holds_the_lock(pair, hasty):
    with (
        locks.held(REMOTE, pair),
        pytest.raises(DependencyError, match="held the promotion lock on"),
        locks.held(REMOTE, pair),
    ):
        pytest.fail("two at once")
    with locks.held(REMOTE, pair):
        assert len(flags(pair)) == 1
    assert flags(pair) == []


def test_with_a_tracking_server_many_at_once_take_turns(pair, hasty, monkeypatch):
    monkeypatch.setattr(locks, "WAIT", 60)
    inside, most = [], []

    def turn(number):
        with locks.held(REMOTE, pair):
            inside.append(number)
            most.append(len(inside))
            time.sleep(0.02)
            inside.remove(number)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(turn, range(8)))
    assert most == [1] * 8


def test_a_flag_of_another_machine_is_taken_down_after_a_while_and_one_of_a_dead_process_at_once(
    pair, hasty, monkeypatch
):
    tracking.client().set_registered_model_tag(pair, f"{locks.FLAG}other", ELSEWHERE)
    with pytest.raises(DependencyError, match="held the promotion lock on"), locks.held(REMOTE, pair):
        pytest.fail("two at once")
    monkeypatch.setattr(locks, "LEASE", 0.2)
    with locks.held(REMOTE, pair):
        pass
    place, _, _ = processes.own().rsplit("/", 2)
    monkeypatch.setattr(locks, "LEASE", 60)
    tracking.client().set_registered_model_tag(pair, f"{locks.FLAG}dead", f"{place}/4194305/1")
    with locks.held(REMOTE, pair):
        pass


def test_who_was_frozen_until_another_took_the_lock_writes_nothing(pair, hasty, monkeypatch):
    monkeypatch.setattr(registered_models, "address", lambda: REMOTE)
    place = registered_models.place

    def frozen(name, wanted):
        for flag in flags(name):
            tracking.client().delete_registered_model_tag(name, flag)
        place(name, wanted)

    monkeypatch.setattr(registered_models, "place", frozen)
    with pytest.raises(DependencyError, match="another one may have taken it"):
        promotion.promote(pair, "2")
    assert aliases(pair) == {"champion": "1", "challenger": "2"}
    monkeypatch.setattr(registered_models, "place", place)
    assert promotion.promote(pair, "2").after == "2"
    assert actions(pair) == ["promote", "repair", "promote"]


def test_a_lock_of_one_model_holds_off_those_of_the_same_model_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "WAIT", 0.2)
    registry_there = f"sqlite:///{tmp_path}/mlflow.db"
    with (
        locks.held(registry_there, "a/b"),
        locks.held(registry_there, "other"),
        pytest.raises(DependencyError, match="that frees the lock"),
        locks.held(registry_there, "a/b"),
    ):
        pytest.fail("two at once")


def command(name, version):
    return f"headstart promote {name} {version}"


def answered(name, run_input):
    """Start the deployment that asks, let the flow suspend itself, answer the form, and let it go on."""
    from prefect import flow_engine
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.sorting import FlowRunSort
    from prefect.exceptions import Pause
    from prefect.flow_runs import resume_flow_run

    from flows.deployments.definitions import everything

    for deployment in everything([], [], None, None):
        deployment.apply()
    assert ask(name, "2")
    assert ask(name, "2")
    with get_client(sync_client=True) as client:
        asks = {"name": name, "version": "2", "ask": True}
        runs = client.read_flow_runs(limit=200, sort=FlowRunSort.EXPECTED_START_TIME_DESC)
        (run,) = [run for run in runs if run.parameters == asks]
        go = {"flow": promote, "parameters": run.parameters, "return_type": "state"}
        with pytest.raises(Pause):
            flow_engine.run_flow(flow_run=run, **go)
        assert client.read_flow_run(run.id).state.name == "Suspended"
        before = aliases(name)
        resume_flow_run(run.id, run_input=run_input)
        done = flow_engine.run_flow(flow_run=client.read_flow_run(run.id), **go)
    return before, done.result()


def test_the_flow_waits_for_a_person_whose_no_changes_nothing(pair, server):
    promotion.introduce(pair, "2", "promote", "better", approval=True)
    before, entry = answered(pair, {"approve": False, "who": "Ada", "why": "too soon"})
    assert before == aliases(pair) == {"champion": "1", "challenger": "2"}
    assert (entry["action"], entry["who"], entry["why"]) == ("reject", "Ada", "too soon")
    assert actions(pair) == ["promote", "reject"]
    assert "rejected by Ada: too soon" in versions.version_of(pair, "2").tags[versions.NOTE]


def test_the_flow_promotes_with_a_persons_yes(pair, server):
    promotion.introduce(pair, "2", "promote", "better", approval=True)
    before, entry = answered(pair, {"approve": True, "who": "Ada"})
    assert before == {"champion": "1", "challenger": "2"}
    assert aliases(pair) == {"champion": "2", "previous": "1"}
    assert (entry["action"], entry["who"], entry["from"], entry["to"]) == ("promote", "Ada", "1", "2")


def test_the_commands_promote_roll_back_verify_and_show_the_ledger(pair, headstart, home):
    def run(*words):
        return headstart(*words, "--home", str(home))

    promoted = run("promote", pair, "2", "--why", "night photos", "--json")
    assert (promoted.code, promoted.json["from"], promoted.json["to"]) == (0, "1", "2"), promoted.err
    back = run("rollback", pair, "--why", "too dark")
    assert "Version 1 is the champion; before, it was version 2. Entry 3 of the ledger." in back.out
    shown = run("models", pair)
    assert re.search(r"3 +│ rollback +│ 1 +│ 2 +│ 1 +│ .* too dark", shown.out)
    assert "is as it was registered" in run("verify", f"{pair}@champion").out
    spoil(tiny_versions.files(pair, "1") / "MLmodel")
    refused = run("verify", f"{pair}@champion")
    assert refused.code == 1
    assert "MLmodel: expected SHA-256" in refused.err
