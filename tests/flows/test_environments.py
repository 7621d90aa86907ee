"""A version goes to another environment by a copy, judged there anew."""

import json
import re
from pathlib import Path

import pandas as pd
import pytest
import tiny_versions

from flows.promote import promote as flow
from tasks.runtime.errors import DataError, DependencyError, UsageError
from tasks.runtime.store import checksums
from tasks.services import environments, tracking
from tasks.services.registry import ledger, predict, promotion, registered_models, registration, versions
from tasks.settings import Recipe

#: Answers of the tiny model: right for nearly every photo, and wrong for nearly every one.
GOOD, BAD = 8.0, -8.0


@pytest.fixture
def name(request, home):
    return re.sub(r"\W+", "-", request.node.name)[:60]


@pytest.fixture
def register(name, tmp_path):
    recipe = Recipe(name=name, source={"kind": "folder"}).model_dump(mode="json")

    def made(weight, gates=None, approval=False):
        own = recipe | {"promotion": recipe["promotion"] | {"approval": approval}}
        own |= {"gates": gates if gates is not None else {"not_worse_than_champion": {}}}
        return tiny_versions.register(name, weight, own, tmp_path, digest=f"of {weight}")

    return made


def champion(name):
    return registered_models.aliases_of(name).get("champion")


def uses():
    return len(tracking.decided(""))


def test_the_first_version_becomes_champion_of_the_environment_and_the_trained_one_stays(name, register):
    found = environments.promote(name, register(GOOD), "prod", "release 1")
    assert (found.model, found.version, found.copy_of, found.champion) == (f"prod.{name}", "1", f"{name}/1", True)
    assert champion(name) is None
    assert "release 1" in ledger.entries(f"prod.{name}")[-1].why
    assert promotion.verify(f"prod.{name}")["model"] == f"prod.{name}"
    with predict.opened(f"prod.{name}", "1") as model:
        assert model.metadata.metadata["classes"] == list(tiny_versions.CLASSES)


def test_the_page_of_the_model_names_its_copy(name, register):
    environments.promote(name, register(GOOD), "prod")
    source = tracking.client().get_model_version(name, "1").source
    told = tracking.client().get_logged_model(source.removeprefix("models:/")).tags["mlflow.modelVersions"]
    assert f'"prod.{name}"' in told
    assert f'"{name}"' in told


def test_a_better_one_replaces_the_champion_there_and_a_worse_one_is_not_copied(name, register):
    environments.promote(name, register(BAD), "prod")
    before = uses()
    found = environments.promote(name, register(GOOD), "prod")
    assert (found.decision, found.version, champion(f"prod.{name}")) == ("promote", "2", "2")
    assert "fixed" in found.reason
    assert uses() == before + 1
    worse = register(BAD - 1)
    with pytest.raises(DataError, match=r"pass the gates .* accuracy .*Nothing was copied"):
        environments.promote(name, worse, "prod")
    assert len(registered_models.versions(f"prod.{name}")) == 2
    assert promotion.rollback(f"prod.{name}").after == "1"


def test_the_same_question_counts_once_and_gives_the_same_answer(name, register):
    environments.promote(name, register(BAD), "prod")
    version = register(GOOD)
    first = environments.promote(name, version, "prod")
    used = uses()
    again = environments.promote(name, version, "prod")
    assert again == first
    assert uses() == used
    assert len(registered_models.versions(f"prod.{name}")) == 2


def test_what_training_compared_is_not_compared_again(name, register):
    environments.promote(name, register(BAD), "prod")
    version = register(GOOD)
    for tag, value in {"opponent": "1", "gate": "promote", "gate_reason": "as trained"}.items():
        tracking.client().set_model_version_tag(name, version, f"headstart.{tag}", value)
    used = uses()
    found = environments.promote(name, version, "prod")
    assert (found.reason, found.champion, uses()) == ("as trained", True, used)


def test_a_copy_goes_on_to_the_next_environment_as_the_version_that_it_is_of(name, register):
    staged = environments.promote(name, register(GOOD), "staging")
    found = environments.promote(staged.model, staged.version, "prod")
    assert (found.model, found.copy_of, found.champion) == (f"prod.{name}", f"{name}/1", True)


def test_undecided_ones_and_those_that_need_approval_wait_as_challenger(name, register):
    environments.promote(name, register(GOOD), "prod")
    same = environments.promote(name, register(GOOD + 0.1), "prod")
    assert (same.decision, same.champion, champion(f"prod.{name}")) == ("undecided", False, "1")
    asked = environments.promote(name, register(GOOD + 0.2, gates={}, approval=True), "prod")
    assert not asked.champion
    assert f"headstart promote prod.{name} 3" in asked.note
    assert registered_models.aliases_of(f"prod.{name}")["challenger"] == "3"


@pytest.mark.parametrize("place", [(promotion, "introduce"), (registration, "_tell")])
def test_a_copy_that_was_interrupted_is_finished(name, register, monkeypatch, place):
    version = register(GOOD)

    def stopped(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(*place, stopped)
        environments.promote(name, version, "prod")
    found = environments.promote(name, version, "prod")
    assert (found.version, found.copy_of, found.champion) == ("1", f"{name}/1", True)


@pytest.mark.parametrize("file", ["recipe.json", versions.TEST, versions.DATA])
def test_what_judges_a_version_is_what_its_seal_covers(name, register, file, tmp_path):
    """Who may write artifacts and tags of a run, but not the files of the version, decides nothing."""
    version = register(GOOD)
    client, run = tracking.client(), versions.version_of(name, version).run_id
    there = Path(client.download_artifacts(run, file, str(tmp_path)))
    if file == "recipe.json":
        there.write_text(json.dumps(json.loads(there.read_text()) | {"gates": {}, "plugins": str(tmp_path)}))
    else:
        pd.read_parquet(there).iloc[::-1].to_parquet(there)
        client.set_tag(run, f"headstart.crc32.{file}", f"{checksums.of_file(there):08x}")
    client.log_artifact(run, str(there))
    with pytest.raises(DependencyError, match="as it was written, found other bytes"):
        environments.promote(name, version, "prod")
    assert not registered_models.known(f"prod.{name}")


def test_a_version_that_was_rolled_back_goes_nowhere(name, register):
    environments.promote(name, register(BAD), "staging")
    environments.promote(name, register(GOOD), "staging")
    promotion.rollback(f"staging.{name}", "too bright")
    with pytest.raises(DataError, match=r"was rolled back in entry 3 of the ledger \(too bright\)"):
        environments.promote(f"staging.{name}", "2", "prod")
    assert not registered_models.known(f"prod.{name}")


def test_photos_that_are_gone_are_said_and_nothing_is_copied(name, register, tmp_path):
    environments.promote(name, register(BAD), "prod")
    version = register(GOOD)
    for photo in tmp_path.glob("*.png"):
        photo.unlink()
    with pytest.raises(DataError, match=f"Expected the 60 test photos of {name} version 2 on this machine"):
        environments.promote(name, version, "prod")
    assert len(registered_models.versions(f"prod.{name}")) == 1


def test_the_model_of_an_environment_is_not_trained_and_no_target_of_itself(name, register):
    environments.promote(name, register(GOOD), "prod")
    with pytest.raises(UsageError, match="holds copies of another model's versions"):
        registration.check_name(f"prod.{name}")
    registration.check_name(name)
    with pytest.raises(UsageError, match="expected another environment"):
        environments.promote(f"prod.{name}", "1", "prod")
    with pytest.raises(UsageError, match="no --force beside it"):
        environments.promote(name, "1", "prod", force=True)


def test_an_empty_name_of_an_environment_is_no_promotion_without_one(name, register, command):
    version = register(GOOD)
    done = command("promote", name, version, "--to", "")
    assert (done.code, "--to: expected the name of an environment" in done.err) == (2, True)
    assert champion(name) is None


def test_the_champion_of_an_environment_is_not_its_challenger_again(name, register):
    version = register(GOOD)
    for _ in range(2):
        environments.promote(name, version, "prod")
    assert registered_models.aliases_of(f"prod.{name}") == {"champion": "1"}


@pytest.mark.parametrize("environment", ["", "Prod", "a.b", "../x", "9", "p" * 21])
def test_other_words_are_no_environments(name, register, environment):
    with pytest.raises(UsageError, match="--to: expected the name of an environment"):
        environments.promote(name, register(GOOD), environment)


def test_a_model_that_was_trained_under_the_name_is_no_environment(name, register):
    tiny_versions.register(f"prod.{name}")
    with pytest.raises(UsageError, match="found versions that were trained as prod"):
        environments.promote(name, register(GOOD), "prod")


def test_a_version_without_its_answers_is_refused_and_nothing_is_made(name, home):
    version = tiny_versions.register(name, digest="x")
    with pytest.raises(UsageError, match="Train it again"):
        environments.promote(name, version, "prod")
    assert not registered_models.known(f"prod.{name}")


def test_a_changed_file_is_found_before_anything_is_copied(name, register):
    version = register(GOOD)
    file = tiny_versions.files(name, version) / "MLmodel"
    file.write_text(file.read_text() + "\n")
    with pytest.raises(DataError, match="as it was registered"):
        environments.promote(name, version, "prod")
    assert not registered_models.known(f"prod.{name}")


def test_the_flow_says_what_became_of_it(name, register, server):
    found = flow(name, register(GOOD), to="prod")
    assert (found["model"], found["champion"]) == (f"prod.{name}", True)
    assert versions.version_of(f"prod.{name}", "1").tags["headstart.gate"] == "promote"
