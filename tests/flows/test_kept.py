"""What was kept is damaged or planted between two runs: nothing of it is used, what it held is computed again."""

import base64
import json
import os
import pickle
from pathlib import Path

import helpers
import pytest
from prefect.serializers import PickleSerializer
from trouble.damage import cut, flip

from flows.train import check, train
from tasks import settings
from tasks.runtime.store import commits, folders
from tasks.runtime.store.checksums import BESIDE
from tasks.services.orchestration.stage import refreshing
from tasks.services.registry import versions

BRIEF = """
[audit]
enabled = false
[transfer_check]
enabled = false
[ladder]
start_at = "probe"
stop_at = "probe"
[extract]
engine = "tensorflow"
"""


@pytest.fixture(scope="module")
def trained(server, three_layers, tmp_path_factory):
    """A home of its own, a recipe, and the outcome of a run that nobody disturbed."""
    folder = tmp_path_factory.mktemp("damaged")
    photos = helpers.photos(folder / "photos", each=16)
    kind, weights = (word.partition("=")[2] for word in three_layers)
    extra = f'{BRIEF}[backbone]\nkind = "{kind}"\nweights = "{weights}"'
    (folder / "r.toml").write_text(helpers.recipe(photos, "damaged", extra))
    recipe = settings.load(folder / "r.toml")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("HEADSTART_HOME", str(folder / "home"))
        # As in a large table, most of a file is looked at row by row alone.
        patched.setattr(commits, "END", 256)
        before = set(_kept().glob("*"))
        outcome = train(recipe)
        yield folder / "home" / "store", recipe, outcome, set(_kept().glob("*")) - before


def _kept():
    return Path(os.environ["PREFECT_LOCAL_STORAGE_PATH"])


def _same(outcome, first):
    """Whether two runs said the same of the same images."""
    assert outcome.report.digest == first.report.digest
    assert outcome.summary()["metrics"] == first.summary()["metrics"]
    now, before = (folders.frame(each.report.predictions) for each in (outcome, first))
    assert now["key"].tolist() == before["key"].tolist()
    assert [p.tolist() for p in now["probabilities"]] == [p.tolist() for p in before["probabilities"]]


def _largest(folder):
    return max((file for file in folder.rglob("*") if file.is_file()), key=lambda file: file.stat().st_size)


def _tables(store, kind):
    return [table for table in store.glob(f"{kind}-*.lance")]


def test_damaged_tables_and_their_flat_arrays_are_made_again(trained, said):
    store, recipe, first, _ = trained
    (images,), (facts,) = (_tables(store, kind) for kind in ("images", "facts"))
    (flat,) = (store / "mapped").glob("features-*.npy")
    flip(flat, at=-50)
    cut(_largest(images / "data"))
    flip(min((facts / "_versions").glob("*.manifest")))
    with refreshing(True):
        _same(train(recipe), first)
    assert f"The array {flat.name} is damaged" in said()
    for damaged in (images, facts):
        assert f"The table {damaged.name} is damaged" in said()
        assert damaged.with_suffix(".damaged").is_dir()


def test_damaged_folders_results_and_rows_are_computed_again(trained, said):
    store, recipe, first, kept = trained
    # The model is trained again; only then are the rows read.
    flip(_largest(store / "models" / Path(first.model.path).parent.name))
    (features,) = _tables(store, "features")
    flip(_largest(features / "data"), at=100)
    next((store / "mapped").glob("features-*.npy")).unlink()
    cut(store.parent / first.report.predictions)
    flip(store / "datasets" / first.dataset.digest / "images.parquet")
    (result,) = (file for file in kept if b"CalibrationRef" in file.read_bytes())
    whole = result.read_bytes()
    flip(result)
    _same(train(recipe), first)
    for kind in ("models", "reports", "datasets"):
        assert f"The folder store/{kind}/" in said()
    assert f"The table {features.name} is damaged: " in said()
    assert f"The kept result {result.name} is damaged" in said()
    assert result.with_name(f"{result.name}.damaged").read_bytes() != whole


@pytest.mark.parametrize("how", ["pickle", "class"])
def test_a_result_that_would_run_code_is_computed_again(server, tmp_path, how):
    """Each file of a result says how Prefect is to read it."""
    photos = helpers.photos(tmp_path / "photos", each=8)
    (tmp_path / "r.toml").write_text(helpers.recipe(photos, f"hostile-{how}"))
    recipe = settings.load(tmp_path / "r.toml")
    kept, planted = Path(os.environ["PREFECT_LOCAL_STORAGE_PATH"]), tmp_path / "planted"
    before = set(kept.glob("*"))
    first = check(recipe)
    made = {file for file in set(kept.iterdir()) - before if file.suffix != BESIDE}
    assert made
    for file in made:
        result = json.loads(file.read_text())
        if how == "pickle":
            result["metadata"]["serializer"] = PickleSerializer().model_dump()
            result["result"] = base64.encodebytes(pickle.dumps(helpers.Evil(planted))).decode()
        else:
            result["result"] = json.dumps({"__class__": "subprocess.getoutput", "data": [f"touch {planted}"]})
        file.write_text(json.dumps(result))
        file.with_name(f"{file.name}{BESIDE}").unlink()
    assert check(recipe) == first
    assert not planted.exists()


def test_a_check_of_the_store_names_what_is_damaged(command, tmp_path, monkeypatch):
    from tasks.runtime.store import folders

    monkeypatch.setenv("HEADSTART_HOME", str(tmp_path))
    # Other tests damage results of stages.
    monkeypatch.setenv("PREFECT_LOCAL_STORAGE_PATH", str(tmp_path / "results"))
    monkeypatch.setattr(versions, "versions", lambda: [])
    with folders.folder("reports", "abc") as (working, path):
        (working / "scores.json").write_text('{"accuracy": 0.875}')
    assert command("store", "check", "--json").code == 0
    (tmp_path / path / "scores.json").write_text('{"accuracy": 0.975}')
    answer = command("store", "check", "--json")
    assert answer.code == 1, answer.err
    assert [(row["kind"], row["name"], row["computed_again"], row["set_aside"]) for row in answer.json] == [
        ("stage folders", path, True, False)
    ]
    assert "other bytes than were written" in command("store", "check").out
    assert command("store", "check", "--repair").code == 0
    assert (tmp_path / f"{path}.damaged").is_dir()
