"""A recipe is right or refused, with the key and what to do."""

from pathlib import Path

import helpers
import pytest

from flows import recipes
from flows.parts.search import _raced, applied
from flows.recipes import find, shipped
from tasks import settings
from tasks.records import SearchRef
from tasks.runtime.errors import UsageError
from tasks.settings import writing


def _load(tmp_path, text, *overrides):
    (tmp_path / "r.toml").write_text(text)
    return settings.load(tmp_path / "r.toml", overrides)


@pytest.mark.parametrize(
    ("effort", "words", "rungs"),
    [
        ("standard", ("ladder.stop_at=probe",), ("probe",)),
        ("best", ("ladder.ship=probe",), ("probe", "head", "blocks", "averaged")),
        ("standard", ("ladder.ship=interpolated",), ("head", "blocks", "interpolated")),
        ("best", ("ladder.ship=averaged",), ("head", "blocks", "averaged")),
        ("best", ("ladder.distill=true",), ("head", "blocks", "distilled", "averaged")),
        ("quick", (), ("head",)),
    ],
)
def test_what_a_recipe_stops_at_or_ships_is_tried_whatever_its_effort(tmp_path, effort, words, rungs):
    recipe = _load(tmp_path, helpers.recipe(tmp_path), f"effort={effort}", *words)
    found = SearchRef("", (), {}, 0, 0.0, 0.0, "", "", 100)
    assert applied(recipe, found, 80).rungs == rungs


def test_what_an_effort_does_not_buy_is_not_shipped(tmp_path):
    with pytest.raises(UsageError, match=r"ladder.ship = 'blocks' is not one of the rungs that are tried: head"):
        _load(tmp_path, helpers.recipe(tmp_path), "effort=quick", "ladder.ship=blocks")
    with pytest.raises(UsageError, match=r"tune.poolings: expected none with backbone.beside"):
        beside = 'backbone.beside=[{kind="efficientnet_lite"}]'
        _load(tmp_path, helpers.recipe(tmp_path), beside, "tune.enabled=true", 'tune.poolings=["avg"]')


def test_the_questions_of_a_search_include_what_its_races_start_from(tmp_path):
    def question(*words):
        return _raced(_load(tmp_path, helpers.recipe(tmp_path), "effort=standard", *words))

    assert question() == question("fine_tune.learning_rate=1e-4") == []
    first = question("fine_tune.trials=4")
    assert first not in ([], question("fine_tune.trials=4", "fine_tune.learning_rate=1e-4"))


@pytest.mark.parametrize("name", shipped())
def test_every_shipped_recipe_is_right_and_says_what_to_expect(name):
    recipe = settings.load(find(name))
    assert recipe.name
    header = find(name).read_text().split("\nname")[0]
    assert f"headstart train {name}" in header
    assert "seed" in header


def test_overrides_take_toml_values_and_bare_words(tmp_path):
    recipe = _load(
        tmp_path, helpers.recipe(tmp_path), "head.kind=mlp", "head.options.units=8", "seed=7", "fine_tune.enabled=false"
    )
    assert (recipe.head.kind, recipe.head.options, recipe.seed) == ("mlp", {"units": 8}, 7)
    assert not recipe.fine_tune.enabled


@pytest.mark.parametrize(
    ("text", "overrides", "says"),
    [
        ('name = "x"\n[head]\nkindd = "linear"', (), r"head\.kindd: there is no such setting.*Did you mean kind"),
        (
            'name = "x"\n[head]\nkind = "lineer"',
            (),
            r"expected one of .*linear, logistic, mlp.*found 'lineer'",
        ),
        (
            'name = "x"\n[head]\noptions = { unit = 3 }\nkind = "mlp"',
            (),
            r"head\.options\.unit.*takes these options: units",
        ),
        ('name = "x"\n[head]\noptions = { units = "many" }\nkind = "mlp"', (), r"head\.options\.units.*found 'many'"),
        ('name = "x"', (), r"source\.options\.path: expected a value"),
        (
            'name = "x"\n[head]\nkind = "knn"\noptions = { k = 0 }',
            (),
            r"head\.options\.k: expected at least 1, found 0",
        ),
        ('name = "x"\n[head]\nkind = "logistic"\noptions = { axes = -5 }', (), r"axes: expected at least 1, found -5"),
        ('name = "x"\n[head]\nkind = "mlp"\noptions = { dropout = 1 }', (), r"dropout: expected less than 1, found 1"),
        ('name = "x"\n[gates.max_latency]\nmilliseconds = 0', (), r"milliseconds: expected more than 0, found 0"),
        ('name = "x"\n[[backbone.beside]]\nkind = "foo"', (), r"backbone\.beside\.0: .*found 'foo'"),
        ('name = "x"\nminutes = 0.1', (), r"minutes: expected at least 0.5.*found 0.1"),
        ('name = "x"\nminutes = inf', (), r"minutes: expected a number, found inf"),
        ("seed = 1", (), r"name: expected a value"),
        ('name = "a/b"', (), r"name: .*found 'a/b'"),
        ('name = "x"\n[split]\ntest = 0.6\nvalidation = 0.5', (), r"leave some images to train on"),
        ('name = "x"\n[gates.min_metrik]', (), r"gates: expected one of .*min_metric"),
        ("name = ", (), r"expected a TOML file, found a mistake"),
        ('name = "x"', ("seed",), r"expected KEY=VALUE"),
        ('name = "x"', ("name.a=1",), r"name is a value"),
        ('name = "x"', ("seed=many",), r"seed: .*found 'many'"),
        ('name = "x"', ("backend=theano",), r"backend: .*'tensorflow', 'torch' or 'jax', found 'theano'"),
        ('name = "x"\nbackend = "jax"', ("extract.engine=openvino",), r"backend tensorflow, found backend = 'jax'"),
        ('name = "x"\nbackend = "jax"', ("fine_tune.strategy=mirrored",), r'needs backend = "tensorflow"'),
    ],
)
def test_a_wrong_recipe_is_refused(tmp_path, text, overrides, says):
    with pytest.raises(UsageError, match=f"(?s){says}"):
        _load(tmp_path, text, *overrides)


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("split.rare=x", "split.rare: expected 'aside', 'train' or 'stop', found 'x'."),
        ("split.test=many", "split.test: expected a number, found 'many'."),
        ("split.validation=-1", "split.validation: expected at least 0, found -1."),
        ("audit.similarity=1", "audit.similarity: expected less than 1, found 1."),
        ("validation.suites=images", "validation.suites: expected a list, found 'images'."),
        ("images.views=[]", "images.views: expected a list with at least 1, found []."),
        ("images.size=1.5", "images.size: expected a whole number, found 1.5."),
        ("images.keep=maybe", "images.keep: expected true or false, found 'maybe'."),
        ("head=3", "head: expected a table, found 3."),
        ("select.candidates=[3]", "select.candidates.0: expected a table, found 3."),
        ("name=a/b", "name: expected text of the form ^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$, found 'a/b'."),
        ("ladder.distill=true", "r.toml: ladder.distill = true needs an average to learn from"),
        (
            "split.test=0.99",
            "r.toml: split: test and validation must each be above 0 and leave some images to train on.",
        ),
        ("source.options.path=5", "source.options.path: expected a path or text, found 5."),
    ],
)
def test_a_wrong_value_is_told_in_our_words(tmp_path, override, says):
    with pytest.raises(UsageError) as error:
        _load(tmp_path, helpers.recipe(tmp_path), override)
    assert says in str(error.value)


def test_settings_cannot_be_changed(tmp_path):
    recipe = _load(tmp_path, helpers.recipe(tmp_path))
    with pytest.raises(ValueError, match="frozen"):
        recipe.seed = 3


def test_every_setting_says_what_it_is():
    for field in settings.Recipe.model_fields.values():
        model = field.annotation
        assert field.description or model.__doc__
        assert all(part.description for part in getattr(model, "model_fields", {}).values()), model


def test_an_unknown_recipe_is_refused_with_the_ones_that_exist():
    with pytest.raises(UsageError, match=r"one of .*elpv.*Found 'nothing'"):
        find("nothing")


def test_the_document_beside_the_recipes_lists_every_setting_with_its_default():
    text = (Path(recipes.__file__).parent / "README.md").read_text()
    assert text == writing.written_into(text)
    rows = {row["setting"]: row for row in writing.rows()}
    assert rows["head.learning_rate"] == {
        "setting": "head.learning_rate",
        "default": "0.001",
        "meaning": "AdamW learning rate",
    }
    assert rows["name"]["default"] == ""
    assert all(row["meaning"] for row in rows.values())
