"""The baselines: matched and chosen personas, random and oracle gates, adapters without a gate."""

from __future__ import annotations

import pytest
from support.gated_parts import CHEF, PEOPLE, POET, TEXTS, judged_pairs, tiny_gated, variant_of

from prism_core.compare.comparison import verification_prompt
from prism_core.errors import InputError
from prism_core.models.generator import Generator, TokenScorer
from prism_core.models.local import LocalModel
from prism_core.personas.prompts import build_prompt
from prism_core.prism.ablation.baselines import PersonaChooser, choosing_prompt, random_gate
from prism_core.prism.ablation.systems import RoutedPrompt, System, SystemParts, build_systems
from prism_core.prism.gating.gated_model import GatedModel
from prism_core.types import Message, PromptVariant, Sampling

SHORT = Sampling(max_new_tokens=6)
PROMPTS = [build_prompt(text, PromptVariant()) for text in TEXTS]


@pytest.fixture(scope="module")
def gated(tiny: LocalModel, tmp_path_factory: pytest.TempPathFactory) -> GatedModel:
    return tiny_gated(tiny, tmp_path_factory.mktemp("bundle"))


def systems_of(gated: GatedModel | None, tiny: LocalModel) -> dict[str, System]:
    parts = SystemParts(tiny, variant_of, tuple(PEOPLE.values()), gated)
    return {s.name: s for s in build_systems(parts, judged_pairs())[0]}


def routed(system: System) -> list[RoutedPrompt]:
    return system.route([j.pair.query for j in judged_pairs()], None)


def test_a_random_gate_opens_as_often_elsewhere() -> None:
    opened = [True] * 30 + [False] * 70
    shuffled = random_gate(opened, seed=1)
    assert sum(shuffled) == 30
    assert shuffled == random_gate(opened, seed=1), "the seed decides"
    assert shuffled != random_gate(opened, seed=2)
    # 30 of 100 open at random: about 9 fall on the first 30 places, and all 30 never do.
    overlap = [sum(random_gate(opened, seed)[:30]) for seed in range(200)]
    assert sum(overlap) / 200 == pytest.approx(9, abs=0.6)


def test_verification_does_not_name_the_persona_and_keeps_braces() -> None:
    [turn] = verification_prompt(" What is {x}? ", "{draft}")
    assert turn.role == "user"
    assert "What is {x}?" in turn.content
    assert "{draft}" in turn.content


def test_the_model_reads_titles_and_domains_to_choose(tiny: LocalModel) -> None:
    [turn] = choosing_prompt("Why?", [POET, CHEF])
    for part in ("- Poet: verse", "- Chef: cooking", "- Nobody:", "Why?"):
        assert part in turn.content
    [alone] = PersonaChooser([POET, CHEF], tiny).choose(TEXTS[:1])
    together = PersonaChooser([POET, CHEF], tiny).choose(TEXTS)
    assert together[0].persona == alone.persona
    assert together[0].scores == pytest.approx(alone.scores, abs=1e-3)
    for choice in together:
        names = ["poet", "chef", None]
        assert len(choice.scores) == 3
        assert choice.persona == names[choice.scores.index(max(choice.scores))]


def test_a_preference_for_a_name_whatever_is_asked_cancels(tiny: LocalModel) -> None:
    [empty] = PersonaChooser([POET, CHEF], tiny).choose(["..."])
    assert empty.scores == pytest.approx([0, 0, 0], abs=1e-3)


def test_the_embedded_model_chooses_sensibly(model: LocalModel) -> None:
    from prism_core.personas.library import load_personas

    library = load_personas()
    chooser = PersonaChooser([library["math"], library["coding"], library["writing"]], model)
    chosen = chooser.choose(
        [
            "Solve the equation 3x + 5 = 20 for x.",
            "Prove that the sum of two even numbers is even.",
            "Write a Python function that reverses a list.",
            "Why does my Java program throw a null pointer exception?",
            "Write a short story about a lighthouse keeper.",
            "Write the first lines of a novel about the sea.",
        ]
    )
    wanted = ["math", "math", "coding", "coding", "writing", "writing"]
    right = sum(c.persona == w for c, w in zip(chosen, wanted, strict=True))
    assert right >= 4, [c.persona for c in chosen]  # one in four by chance: 1.5 of 6


def test_personas_that_cannot_be_told_apart_are_refused(tiny: LocalModel) -> None:
    with pytest.raises(InputError, match="Poet, Poet"):
        PersonaChooser([POET, POET], tiny)
    with pytest.raises(InputError, match="got none"):
        PersonaChooser([], tiny)


def test_an_adapter_without_a_gate_is_a_generator_and_reads_no_gate(gated: GatedModel) -> None:
    held = GatedModel(gated.base, gated.lora, None)
    assert held.probabilities(PROMPTS) == [1.0] * len(PROMPTS)
    with pytest.raises(InputError, match="has no gate"):
        held.generate(PROMPTS, SHORT, gates="closed")
    assert isinstance(held, Generator)
    assert isinstance(held, TokenScorer)
    theirs = gated.generate(PROMPTS, SHORT, gates="open")
    assert [a.text for a in held.generate(PROMPTS, SHORT)] == [a.text for a in theirs]
    assert all(a.gate is None for a in held.generate(PROMPTS, SHORT))
    assert [a.text for a in list(held.stream(PROMPTS, SHORT))[-1]] == [a.text for a in theirs]
    [[score]] = held.score_choices(PROMPTS[:1], [["a bird"]])
    assert score.logprob == pytest.approx(
        sum(t.logprob for t in held.score_tokens(PROMPTS[:1], ["a bird"])[0]), abs=1e-3
    )


def test_every_system_is_there_and_asks_what_it_should(gated: GatedModel, tiny: LocalModel) -> None:
    systems = systems_of(gated, tiny)
    assert list(systems) == [
        "base",
        "persona_prompt",
        "chosen_persona",
        "kl_lora",
        "prism",
        "random_gate",
        "oracle_gate",
    ]
    plans = {name: routed(system) for name, system in systems.items()}
    assert [a.prompt for a in plans["base"]] == PROMPTS
    for i, asked in enumerate(plans["persona_prompt"]):
        who = POET if i < 3 else CHEF
        assert asked.prompt[0] == Message("system", who.texts["long"])
        assert asked.is_routed is True
    for asked in plans["chosen_persona"]:
        assert asked.tokens_before > 30
        assert asked.is_routed is (len(asked.prompt) == 2)
    assert {a.gate for a in plans["kl_lora"]} == {"open"}
    assert sorted((a.gate, a.is_routed) for a in plans["prism"]) == [
        *[("closed", False)] * 4,
        *[("open", True)] * 2,
    ]
    alone = systems["prism"].route_alone
    assert alone is not None
    queries = [j.pair.query for j in judged_pairs()]
    assert {(a.gate, a.is_routed) for a in alone(queries, None)} == {("auto", None)}
    assert sum(a.gate == "open" for a in plans["random_gate"]) == 2, "as many as PRISM opens"
    assert [a.gate for a in plans["oracle_gate"]] == ["open", "closed"] * 3
    for name in ("kl_lora", "prism", "random_gate", "oracle_gate"):
        assert [a.prompt for a in plans[name]] == PROMPTS, "no persona in the prompt"


def test_gates_are_held_as_planned(gated: GatedModel, tiny: LocalModel) -> None:
    systems = systems_of(gated, tiny)
    base = tiny.generate(PROMPTS, SHORT)
    opened = gated.generate(PROMPTS, SHORT, gates="open")
    seeds = [0] * len(PROMPTS)
    for name in ("prism", "random_gate", "oracle_gate", "kl_lora"):
        plan = routed(systems[name])
        answers = systems[name].answer(plan, tiny, SHORT, seeds)
        for i, (asked, answer) in enumerate(zip(plan, answers, strict=True)):
            assert answer.text == (opened if asked.is_routed else base)[i].text
            assert answer.gate is None
    # What PRISM's gate decided beforehand is what it decides in its one pass.
    planned = routed(systems["prism"])
    in_one_pass = gated.generate(PROMPTS, SHORT, seeds)
    assert [a.gate.is_open for a in in_one_pass if a.gate] == [a.is_routed for a in planned]
    apart = systems["prism"].answer(planned, tiny, SHORT, seeds)
    assert [a.text for a in apart] == [a.text for a in in_one_pass]


def test_what_was_not_trained_is_absent_with_a_reason(gated: GatedModel, tiny: LocalModel) -> None:
    parts = SystemParts(tiny, variant_of, prism=None)
    systems, missing = build_systems(parts, judged_pairs())
    assert [s.name for s in systems] == ["base", "persona_prompt"]
    assert [m.system for m in missing] == [
        "chosen_persona",
        "sft",
        "kl_lora",
        "prism",
        "random_gate",
        "oracle_gate",
    ]
    assert all(m.why.endswith(".") and m.label for m in missing)
    systems, _ = build_systems(SystemParts(tiny, variant_of, sft=gated), judged_pairs())
    assert [s.name for s in systems] == ["base", "persona_prompt", "sft"]
