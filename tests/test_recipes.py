"""Typed settings: what may be changed, what is answered when it may not."""

import json
from dataclasses import asdict, fields

import pytest

from alexnet import nets, recipes
from alexnet.errors import Misused


def test_any_field_is_an_option_and_the_list_is_held():
    kept = {"name", "nets", "phases", "planned_epochs", "decays"}
    assert set(recipes.options()) == {f.name for f in fields(recipes.Recipe)} - kept
    assert len(recipes.options()) <= 40
    assert recipes.recipe("paper", rate=0.02, reshuffle=False).rate == 0.02


@pytest.mark.parametrize("name, changes, answer", [
    ("papr", {}, "did you mean paper"),
    ("paper", {"rte": 0.1}, "did you mean rate"),
    ("paper", {"schedule": "stairs"}, "constant, phases, plateau"),
    ("paper", {"rate": "fast"}, "wants float"),
    ("paper", {"rate": float("nan")}, "above zero"),
    ("paper", {"epochs": 0}, "above zero"),
    ("paper", {"epochs": 2.5}, "wants int"),
    ("paper", {"reflect": 1}, "wants bool"),
    ("paper", {"least_side": 0.5}, "want --crop resized"),
    ("modern", {"least_side": 1.5}, "share up to 1"),
    ("modern", {"full_side": 0.0}, "above zero"),
])
def test_what_does_not_fit_is_answered(name, changes, answer):
    with pytest.raises(Misused, match=answer):
        recipes.recipe(name, **changes)


def test_recipes_survive_json_and_name_rows_that_exist():
    for make in recipes.RECIPES.values():
        recipe = make()
        assert recipes.from_plain(json.loads(json.dumps(asdict(recipe)))) == recipe
        assert all(name in nets.ROWS for name in recipe.nets)
