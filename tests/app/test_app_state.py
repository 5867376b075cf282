"""What a visitor may choose: checks, links, and what a browser brings back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qsl

import pytest

from app.common.form_values import check_model
from app.common.persona_choices import merge_personas
from app.compare.examples import labels, load_examples, pick
from app.compare.form import DEFAULT_SAMPLING, Selection, check_selection, read_query
from app.compare.shown import new_order
from app.services.settings import Settings, browser_secret, read_settings
from prism_core.errors import InputError, NotFoundError, StorageError
from prism_core.models.sources import EMBEDDED
from prism_core.personas.library import load_personas
from prism_core.types import Sampling

PERSONAS = load_personas()
SETTINGS = Settings()
OWN = {"name": "chef", "kind": "expert", "domain": "food", "texts": {"min": "Cook"}}


def test_defaults_are_allowed() -> None:
    checked = check_selection(Selection(question=" Why? "), PERSONAS, SETTINGS)
    assert checked.question == "Why?"
    assert checked.arms == ("neutral", "persona", "control")
    assert checked.sampling == DEFAULT_SAMPLING


@pytest.mark.parametrize(
    ("change", "quoted"),
    [
        ({"question": " \u200b\x07 "}, "empty"),
        ({"question": "x" * 8001}, "8,001"),
        ({"persona": "nobody"}, "'nobody'"),
        ({"length": "huge"}, "'huge'"),
        ({"placement": "aside"}, "'aside'"),
        ({"arms": ()}, "No arm"),
        ({"arms": ("neutral", "oracle")}, "'oracle'"),
        ({"control": "math"}, "not a control"),
        ({"seed": -1}, "'-1'"),
        ({"seed": 1.5}, "'1.5'"),
        ({"seed": None}, "Seed is empty; it must be a whole number"),
        ({"seed": 2**31}, "Seed is '2147483648'; .* a whole number from 0 to 2,147,483,647"),
        ({"seed": 1e300}, r"'1e\+300'"),
        ({"seed": 10**400}, "'1000"),
        ({"adapter": "../../etc"}, "'../../etc' is not an adapter"),
        ({"model": ""}, "No model"),
        ({"model": "a\x00b"}, "not a model"),
        ({"sampling": Sampling(max_new_tokens=0)}, "'0'"),
        ({"sampling": Sampling(max_new_tokens=1025)}, "1 to 1,024"),
        ({"sampling": Sampling(temperature=float("nan"))}, "'nan'"),
        ({"sampling": Sampling(temperature=True)}, "'True'"),
        (
            {"sampling": Sampling(temperature=-0.5)},
            "Temperature is '-0.5'; .* a number from 0 to 2",
        ),
        ({"sampling": Sampling(top_k=1001)}, "Top-k is '1001'; .* a whole number from 0 to 1,000"),
        ({"sampling": Sampling(top_p=0.0)}, "0.05 to 1"),
        ({"sampling": Sampling(repetition_penalty=9.0)}, "1 to 2"),
    ],
)
def test_a_mistake_is_quoted(change: dict[str, object], quoted: str) -> None:
    with pytest.raises((InputError, NotFoundError), match=quoted):
        check_selection(replace(Selection(question="Hi"), **change), PERSONAS, SETTINGS)


def test_a_public_deployment_shortens_answers() -> None:
    long = Selection(question="Hi", sampling=Sampling(max_new_tokens=300))
    assert check_selection(long, PERSONAS, SETTINGS).sampling.max_new_tokens == 300
    with pytest.raises(InputError, match="1 to 256"):
        check_selection(long, PERSONAS, Settings(public=True))


def test_arms_come_in_their_own_order_and_once() -> None:
    mixed = Selection(question="Hi", arms=("control", "neutral", "control"))
    assert check_selection(mixed, PERSONAS, SETTINGS).arms == ("neutral", "control")


def test_a_link_brings_everything_back() -> None:
    chosen = Selection(
        question="Why & how?\nää مرحبا #1",
        persona="critic",
        length="short",
        placement="user",
        arms=("neutral", "verify"),
        control="irrelevant",
        sampling=Sampling(33, 0.7, 0.85, 40, 1.25),
        seed=2**31 - 1,
        model="org/name",
        adapter="shipped-demo",
    )
    reading = read_query(dict(parse_qsl(chosen.to_query())), PERSONAS, SETTINGS)
    assert reading.selection == chosen
    assert reading.problems == ()
    assert not reading.is_empty


def test_a_link_with_mistakes_keeps_what_is_right() -> None:
    query = {"question": "Hi", "persona": "nobody", "seed": "x", "top_k": "7", "utm": "1"}
    reading = read_query(query, PERSONAS, SETTINGS)
    assert reading.selection == replace(
        Selection(question="Hi"), sampling=replace(DEFAULT_SAMPLING, top_k=7)
    )
    assert len(reading.problems) == 2
    assert "'nobody'" in reading.problems[0]


def test_no_link_at_all() -> None:
    assert read_query({"__theme": "dark"}, PERSONAS, SETTINGS).is_empty


def test_own_personas_are_checked_and_hide_no_shipped_one() -> None:
    stored = [OWN, {**OWN, "name": "math"}, {"name": "../x"}, "junk", None, {**OWN, "texts": 3}]
    merged = merge_personas(PERSONAS, stored)
    assert set(merged) - set(PERSONAS) == {"chef"}
    assert merged["math"] == PERSONAS["math"]
    assert merge_personas(PERSONAS, "junk") == PERSONAS


def test_models_are_named_readably() -> None:
    assert check_model(" org/name ") == "org/name"
    with pytest.raises(InputError):
        check_model("x" * 301)


def test_a_blind_order_is_shuffled_and_leaves_prism_out() -> None:
    chosen = check_selection(
        Selection(question="Hi", arms=("neutral", "persona", "control", "prism")),
        PERSONAS,
        SETTINGS,
    )
    orders = [new_order(chosen, PERSONAS, blind=True).shuffle for _ in range(200)]
    assert {tuple(sorted(o or ())) for o in orders} == {(0, 1, 2)}
    assert len(set(orders)) == 6  # all of 3! orders; missing one has probability 6 * (5/6)^200
    assert new_order(chosen, PERSONAS, blind=False).shuffle is None
    gated = replace(chosen, adapter="shipped-demo")
    assert sorted(new_order(gated, PERSONAS, blind=True).shuffle or ()) == [0, 1, 2, 3]


def test_settings_come_from_the_environment() -> None:
    assert read_settings({}).models == (EMBEDDED,)
    asked = {"PRISM_PUBLIC": "1", "PRISM_MODEL": "a/b", "PRISM_MODEL_ALLOWLIST": "c/d, a/b,"}
    settings = read_settings(asked)
    assert settings.public
    assert settings.models == ("a/b", EMBEDDED, "c/d")


def test_the_browser_secret_outlives_a_restart(tmp_path: Path) -> None:
    settings = Settings(cache=tmp_path / "cache")
    first = browser_secret(settings)
    assert len(first) == 32
    assert browser_secret(settings) == first
    assert (tmp_path / "cache" / "browser-secret").stat().st_mode & 0o077 == 0
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError):
        browser_secret(Settings(cache=tmp_path / "file"))


def test_examples_fit_the_personas() -> None:
    import random

    examples = load_examples()
    assert len(labels(examples)) == 10
    for example in examples:
        assert example.persona in PERSONAS
        check_selection(Selection(question=example.question), PERSONAS, SETTINGS)
    rng = random.Random(0)
    maths = [e for e in examples if e.label == "Maths"]
    for _ in range(20):
        got = pick(examples, rng, "Maths", not_again=maths[0].question)
        assert got in maths[1:]


def test_a_broken_examples_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "e.yaml"
    path.write_text("- category: x")
    with pytest.raises(InputError, match=r"e\.yaml"):
        load_examples(path)
