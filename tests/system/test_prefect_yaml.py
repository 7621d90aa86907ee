"""`prefect.yaml` deploys any recipe, as `headstart deploy` does."""

import subprocess
from pathlib import Path

import helpers
import pytest
from servers import BIN

from tasks.runtime.errors import UsageError

ROOT = Path(__file__).parents[2]
#: What both ways must agree on.
SAME = ("flow_id", "name", "entrypoint", "tags", "parameters", "job_variables", "work_pool_name", "concurrency_limit")


def _made(client, names):
    """By flow, what the server has of the deployments with these names, and what starts them."""
    found = {}
    for each in client.read_deployments(limit=200):
        if each.name not in names:
            continue
        flow = client.read_flow(each.flow_id).name
        values = each.model_dump(include=set(SAME), mode="json") | {"tags": sorted(each.tags)}
        values["parameters"].pop("overrides", None)
        schedules = [type(schedule.schedule).__name__ for schedule in each.schedules]
        triggers = client.read_resource_related_automations(f"prefect.deployment.{each.id}")
        wanted = [sorted(one.trigger.expect) + list(one.trigger.match.root.values()) for one in triggers]
        found[flow] = values | {"schedules": schedules, "triggers": wanted}
    return found


def test_it_makes_what_the_command_makes(server, tmp_path):
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import WorkPoolCreate

    recipe = helpers.recipe(helpers.photos(tmp_path / "photos", each=4), "any-name")
    (tmp_path / "r.toml").write_text(recipe)
    env = helpers.outside() | {"PREFECT_API_URL": server, "HEADSTART_HOME": str(tmp_path / "home")}

    def run(*words, **more):
        done = subprocess.run(
            [str(BIN / words[0]), *words[1:]], env=env | more, cwd=ROOT, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stdout + done.stderr

    with get_client(sync_client=True) as client:
        client.create_work_pool(WorkPoolCreate(name="headstart", type="process"), overwrite=True)
        how = ("--pool", "headstart", "--cron", "0 3 * * *", "--watch", "300")
        run("headstart", "deploy", str(tmp_path / "r.toml"), *how)
        wanted = _made(client, {"any-name", "headstart"})
        for each in client.read_deployments(limit=200):
            if each.name in ("any-name", "headstart"):
                client.delete_deployment(each.id)
        run("prefect", "deploy", "--all", "--no-prompt", NAME="any-name", RECIPE=str(tmp_path / "r.toml"))
        assert _made(client, {"any-name", "headstart"}) == wanted


def test_a_worker_finds_the_files_that_a_recipe_names_from_the_folder_of_the_command(tmp_path, monkeypatch):
    from flows.deployments.definitions import everything
    from tasks import settings

    monkeypatch.chdir(tmp_path)
    helpers.photos(tmp_path / "photos", each=4)
    (tmp_path / "r.toml").write_text(helpers.recipe("photos", "any-name"))
    *_, retraining = everything(["r.toml"], [], None, None)
    monkeypatch.chdir("/")
    given = retraining.parameters
    found = settings.load(Path(given["recipe"]), tuple(given["overrides"]))
    assert found.source.options["path"] == str(tmp_path / "photos")


def test_two_recipes_of_one_name_are_refused_before_one_replaces_the_other(tmp_path):
    from flows.deployments.definitions import everything

    for file in ("a.toml", "b.toml"):
        (tmp_path / file).write_text(helpers.recipe("photos", "pets"))
    with pytest.raises(UsageError, match=r"different names, found 'pets' in .*a\.toml and in .*b\.toml"):
        everything([str(tmp_path)], [], None, 60)


def test_every_field_of_the_forms_says_what_it_is(server):
    from flows.deployments.definitions import everything

    for each in everything(["digits"], [], None, 60):
        fields = each._parameter_openapi_schema.properties
        assert fields and all(field.get("description") for field in fields.values()), each.name
