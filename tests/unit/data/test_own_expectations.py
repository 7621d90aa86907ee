"""A person's own expectations: suites in JSON files, and a project of Great Expectations."""

import hashlib
import json

import pandas as pd
import pytest

from tasks.data.expectations import Case, own
from tasks.runtime.errors import UsageError
from tasks.settings import Validation, check
from tasks.stages.data.validate import findings_of


@pytest.fixture
def images():
    labels = ["cat", "dog"] * 6
    keys = [f"k{i:02}" for i in range(12)]
    facts = {"width": 50, "height": 40, "brightness": [0.1, 0.8] * 6, "contrast": 0.2, "sharpness": 100.0}
    fixed = {"key": keys, "uri": keys, "label": labels, "split": (["train"] * 2 + ["validation", "test"] * 1) * 3}
    return pd.DataFrame(fixed | {"error": None} | facts)


def _written(folder, *expectations):
    (folder / "xrays.json").write_text(json.dumps({"name": "xrays", "expectations": list(expectations)}))
    return Validation(suites=(), own=str(folder))


BRIGHT = {"type": "expect_column_values_to_be_between", "kwargs": {"column": "brightness", "min_value": 0.3}}


def test_a_suite_in_a_file_counts_and_its_severity_is_kept(images, tmp_path):
    filtered = {"type": "comparison", "column": {"name": "label"}, "operator": "==", "parameter": "dog"}
    light = {**BRIGHT, "kwargs": BRIGHT["kwargs"] | {"row_condition": filtered}}
    validation = _written(tmp_path, BRIGHT, BRIGHT | {"severity": "warning", "id": "an id"}, light)
    first, second, third = findings_of(Case(images, validation), tmp_path / "docs")
    assert (first.outcome, second.outcome, third.outcome) == ("fails", "warns", "holds")
    said = "own_xrays.brightness column_values_to_be_between (min_value = 0.3); fails for 6 of 12: k00 (0.1), "
    assert first.text.startswith(said)
    assert "own_xrays.brightness" in (tmp_path / "docs" / "index.html").read_text()


@pytest.mark.parametrize(
    ("suite", "says"),
    [
        ("{", "xrays.json: expected JSON, found a mistake"),
        ('{"name": "xrays"}', "expected a suite of Great Expectations with a list `expectations`"),
        ({"type": "expect_brightness"}, "there is no expectation 'expect_brightness'. Did you mean"),
        ({"expectation_type": "expect_column_values_to_be_between"}, "of a version before 1.0"),
        (BRIGHT | {"kwargs": {"column": "light"}}, "no column 'light'. There are: key, uri, label"),
        (BRIGHT | {"kwargs": {"column": "width", "least": 3}}, "least: extra fields not permitted"),
        (BRIGHT | {"kwargs": {"column": "label", "min_value": 3}}, "of 'label' cannot be evaluated"),
        (BRIGHT | {"kwargs": {"column": "width", "min_value": 3, "row_condition": "@boom()"}}, "found '@boom()'"),
        (BRIGHT | {"kwargs": {"column": "width", "row_condition": {"type": "pass_through"}}}, "expected a row_cond"),
        ({"type": "unexpected_rows_expectation", "kwargs": {"unexpected_rows_query": "x"}}, "cannot be evaluated"),
    ],
)
def test_a_mistake_in_a_file_is_told_in_plain_words(images, tmp_path, suite, says):
    validation = _written(tmp_path, suite)
    if isinstance(suite, str):
        (tmp_path / "xrays.json").write_text(suite)
    with pytest.raises(UsageError) as error:
        findings_of(Case(images, validation))
    assert says in str(error.value)
    assert "xrays.json" in str(error.value)
    assert "\n" not in str(error.value)


def test_the_content_of_the_files_is_what_results_depend_on(tmp_path):
    before = own.contents(_written(tmp_path, BRIGHT))
    assert own.contents(_written(tmp_path, BRIGHT)) == before
    assert own.contents(_written(tmp_path, BRIGHT | {"severity": "warning"})) != before
    assert own.contents(Validation()) == {}


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"own": "nothing"}, "validation.own: expected a folder with suites"),
        ({"context": "nothing"}, "validation.context: expected a project of Great Expectations, with gx/great_"),
        ({"context_suites": ["a"]}, "validation.context_suites: expected none without validation.context"),
    ],
)
def test_a_folder_that_is_not_there_is_a_wrong_recipe(settings, says):
    with pytest.raises(UsageError, match=says):
        check({"name": "a", "validation": settings}, "r.toml")


@pytest.fixture
def project(tmp_path):
    """A project with two suites, and a checkpoint that updates Data Docs and calls a chat that nobody answers."""
    import great_expectations as gx

    context = gx.get_context(mode="file", project_root_dir=str(tmp_path))
    for name, least in (("light", 0.3), ("any", 0.0)):
        expectation = gx.expectations.ExpectColumnValuesToBeBetween(
            column="brightness", min_value=least, severity="warning"
        )
        context.suites.add(gx.ExpectationSuite(name=name, expectations=[expectation]))
    batch = context.data_sources.add_pandas("theirs").add_dataframe_asset("a").add_batch_definition_whole_dataframe("b")
    definition = gx.ValidationDefinition(name="theirs", data=batch, suite=context.suites.get("light"))
    actions = [gx.checkpoint.MicrosoftTeamsNotificationAction(name="chat", teams_webhook="no address")]
    actions += [gx.checkpoint.UpdateDataDocsAction(name="docs")]
    definitions = [context.validation_definitions.add(definition)]
    context.checkpoints.add(gx.Checkpoint(name="theirs", validation_definitions=definitions, actions=actions))
    return tmp_path


def _files(folder):
    return {
        file.relative_to(folder): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in folder.rglob("*")
        if file.is_file() and "uncommitted" not in file.parts
    }


def test_the_suites_of_a_project_run_with_its_actions_and_it_stays_as_it_was(images, project, tmp_path):
    before = _files(project)
    found = own.findings(Case(images, Validation(context=str(project))))
    assert _files(project) == before
    assert sorted(finding.outcome for finding in found if "brightness" in finding.text) == ["holds", "warns"]
    assert any("context_light.brightness column_values_to_be_between" in finding.text for finding in found)
    (failed,) = [finding for finding in found if "The action chat" in finding.text]
    assert failed.outcome == "warns"
    docs = project / "gx" / "uncommitted" / "data_docs" / "local_site"
    assert {page.relative_to(docs).parts[1] for page in docs.rglob("validations/**/*.html")} == {"light", "any"}
    (only,) = own.findings(Case(images, Validation(context=str(project / "gx"), context_suites=("any",))))[:1]
    assert "context_any.brightness" in only.text


def test_what_a_person_writes_into_the_project_meanwhile_stays_and_what_a_killed_process_left_goes(
    images, project, monkeypatch
):
    config, before = project / "gx" / "great_expectations.yml", _files(project)
    evaluated, run_actions, seen = own.project._evaluated, own.project.run_actions, []

    def looked_at(*given):
        result = evaluated(*given)
        seen.append(config.read_bytes())
        return result

    with monkeypatch.context() as patch:
        patch.setattr(own.project, "_evaluated", looked_at)
        own.findings(Case(images, Validation(context=str(project))))
    assert _files(project) == before
    config.write_bytes(seen[0])
    assert "headstart" in config.read_text()
    own.findings(Case(images, Validation(context=str(project))))
    assert _files(project).keys() == before.keys()
    assert "headstart" not in config.read_text()

    def edited(*given):
        config.write_text(f"{config.read_text()}\n# a person's line\n")
        return run_actions(*given)

    monkeypatch.setattr(own.project, "run_actions", edited)
    own.findings(Case(images, Validation(context=str(project))))
    assert "# a person's line" in config.read_text()


def test_a_project_that_cannot_be_used_is_told_in_plain_words(images, project):
    with pytest.raises(UsageError, match=r"expected a suite none in .*There are: .*light"):
        own.findings(Case(images, Validation(context=str(project), context_suites=("none",))))
    before = _files(project)
    with pytest.raises(UsageError, match=r"suite light of .* cannot be evaluated.*The columns are: key"):
        own.findings(Case(images.drop(columns="brightness"), Validation(context=str(project))))
    assert _files(project) == before
    (project / "gx" / "great_expectations.yml").write_text("config_version: 1\n")
    with pytest.raises(UsageError, match="cannot be opened"):
        own.findings(Case(images, Validation(context=str(project))))
