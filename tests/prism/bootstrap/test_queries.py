"""Stage 1: parsing what small models write, keeping questions apart, and going on after a crash."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.scripted import Scripted

from prism_core.errors import CancelledError, InputError
from prism_core.models.local import LocalModel
from prism_core.personas.library import load_personas
from prism_core.prism.bootstrap.queries import STAGE, QueryConfig, QuerySet, write_queries
from prism_core.prism.bootstrap.query_text import content_words, is_near_duplicate, parse_draft
from prism_core.progress import Progress
from prism_core.storage import Store
from prism_core.storage.journal import Journal, MemoryJournal, StoreJournal, begin, seed_of
from prism_core.types import Persona, Prompt, Sampling

BAKER = Persona("baker", "Baker", "expert", "baking", {"min": "You bake."}, ("bread", "cakes"))
PILOT = Persona("pilot", "Pilot", "expert", "flying", {"min": "You fly."}, ("storms",))
THINGS = ("ovens", "yeast", "flour", "butter", "sugar", "rolls", "pans", "doughs", "jam", "racks")


def numbered(prompt: Prompt, seed: int) -> str:
    """A different question a seed, of five content words none of which is shared."""
    return f"How warm must {THINGS[seed % 10]}{seed % 9973} become before baking{seed % 9967}?"


@pytest.mark.parametrize(
    ("written", "opener", "text"),
    [
        ('use a sieve?"\n\nYou shake it.', "How do I", "How do I use a sieve?"),
        ("'s the tallest tree on Earth?", "What", "What's the tallest tree on Earth?"),
        ('1. "Why do leaves fall in autumn?"', "", "Why do leaves fall in autumn?"),
        ("Question: Why do leaves fall?\nAnswer: Cold.", "", "Why do leaves fall?"),
        ('does "mens rea" mean in law?" Now answer.', "What", 'What does "mens rea" mean in law?'),
        ("poem about snow in the city", "Write a", "Write a poem about snow in the city."),
        ("a plane keep its height.", "How does", "How does a plane keep its height?"),
        (
            "stuck on x^2 - 6x + 8 = 0. Can you solve it? I am here to assist.",
            "I am",
            "I am stuck on x^2 - 6x + 8 = 0. Can you solve it?",
        ),
        ("How do I sift 3.5 kg of flour?", "How do I", "How do I sift 3.5 kg of flour?"),
    ],
)
def test_a_question_is_found_in_what_was_written(written: str, opener: str, text: str) -> None:
    draft = parse_draft(written, opener)
    assert (draft.text, draft.reason) == (text, None)


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("  \n ", "empty"),
        ("12 + 3 = 15", "empty"),
        ("I'm sorry, but I can't ask about that topic.", "refusal"),
        ("As an AI, I do not have questions about bread.", "refusal"),
        ("I am ready to help you with bread and cakes today.", "malformed"),
        ("Can you provide a specific question about bread?", "malformed"),
        ("Why?", "malformed"),
        ("The bread is baked in the oven at night.", "malformed"),
        ("How " + "very " * 60 + "warm is it?", "too_long"),
    ],
)
def test_what_is_no_question_is_dropped_for_its_reason(written: str, reason: str) -> None:
    assert parse_draft(written).reason == reason


def test_a_draft_cut_by_the_token_limit_is_kept_only_up_to_a_sentence() -> None:
    assert parse_draft("Why does bread rise so", is_cut=True).reason == "too_long"
    draft = parse_draft("Why does bread rise so fast? I have", is_cut=True)
    assert (draft.text, draft.reason) == ("Why does bread rise so fast?", None)


def test_near_duplicates_by_shared_content_words() -> None:
    # {bread, rise, warm, oven} and {bread, rise, warm, kitchen}: 3 of 5 shared = 0.6.
    kept = content_words("Why does bread rise in a warm oven?")
    assert kept == {"bread", "rise", "warm", "oven"}
    other = "How do breads rise in the warm kitchen?"
    assert is_near_duplicate(other, [kept], 0.6)
    assert not is_near_duplicate(other, [kept], 0.61)
    assert is_near_duplicate("WHY DOES BREAD RISE, in a warm oven!", [kept], 1.0)
    assert is_near_duplicate("What is it about?", [], 0.6), "no content at all"


def run(model: Scripted, journal: Journal, progress: Progress | None = None) -> QuerySet:
    config = QueryConfig(per_persona=9, batch_rows=5, rounds=3, seed=3)
    return write_queries(config, [BAKER, PILOT], model, journal, progress or Progress())


def test_every_persona_gets_its_number_spread_over_its_topics() -> None:
    found = run(Scripted(numbered), MemoryJournal())
    assert [(c.persona, c.kept, c.shortfall) for c in found.counts] == [
        ("baker", 9, 0),
        ("pilot", 9, 0),
    ]
    topics = [q.subtopic for q in found.queries if q.persona == "baker"]
    assert {topics.count("bread"), topics.count("cakes")} == {4, 5}
    assert len({q.id for q in found.queries}) == len({q.text for q in found.queries}) == 18
    for c in found.counts:  # 9 * 1.3 = 11.7, so 12 drafts; 9 kept and 3 to spare
        assert (c.written, c.kept, sum(c.dropped.values())) == (12, 9, 0)


def test_a_model_that_repeats_itself_ends_in_an_honest_shortfall() -> None:
    found = run(Scripted(lambda p, s: "How long does rye bread bake?"), MemoryJournal())
    baker = found.counts[0]
    # Rounds: ceil(9 * 1.3) = 12 drafts keep 1; twice ceil(8 * 1.3) = 11 keep none. 12 + 11 + 11.
    assert (baker.written, baker.kept, baker.shortfall) == (34, 1, 8)
    assert baker.dropped["near_duplicate"] == 33
    assert found.shortfall == 16


def test_reasons_are_counted_and_replaced_in_a_further_round() -> None:
    def speech(prompt: Prompt, seed: int) -> str:
        return "I'm sorry, I can't help with that." if seed % 3 == 0 else numbered(prompt, seed)

    found = run(Scripted(speech), MemoryJournal())
    assert found.shortfall == 0
    for c in found.counts:
        assert c.written >= c.kept + sum(c.dropped.values())
    assert sum(c.dropped["refusal"] for c in found.counts) > 0


def test_a_model_that_continues_is_given_the_first_words() -> None:
    seen: list[Prompt] = []

    def speech(prompt: Prompt, seed: int) -> str:
        seen.append(prompt)
        return f'{THINGS[seed % 10]}{seed % 9973} behave near heat{seed % 9967}?" Well.'

    found = run(Scripted(speech, continues=True), MemoryJournal())
    assert all(p[-1].role == "assistant" for p in seen)
    first = seen[0][-1].content.rsplit('"', 1)[1]
    assert first and found.queries[0].text.startswith(first)
    assert not any("Well" in q.text for q in found.queries)


@pytest.mark.parametrize("crash", [1, 2, 4])
def test_resumed_after_a_crash_equals_uninterrupted(tmp_path: Path, crash: int) -> None:
    whole = Scripted(numbered)
    expected = run(whole, MemoryJournal())
    with Store(home=tmp_path) as store:
        journal = StoreJournal(store, store.create_run("train", "t", {}).id)
        broken = Scripted(numbered)
        broken.fail_at = crash
        with pytest.raises(RuntimeError, match="went down"):
            run(broken, journal)
        rest = Scripted(numbered)
        assert run(rest, journal) == expected
    assert len(rest.calls) == len(whole.calls) - (crash - 1), "finished batches are not redone"


def test_a_cancelled_batch_is_not_journaled() -> None:
    journal, model, progress = MemoryJournal(), Scripted(numbered), Progress()
    model.cancel_at = 2
    with pytest.raises(CancelledError):
        run(model, journal, progress)
    assert [k for k in journal.load(STAGE) if not k.startswith("#")] == ["0/0"]
    assert run(Scripted(numbered), journal) == run(Scripted(numbered), MemoryJournal())


def test_other_settings_on_the_same_run_are_refused() -> None:
    journal = MemoryJournal()
    run(Scripted(numbered), journal)
    with pytest.raises(InputError, match="begun with other settings"):
        write_queries(QueryConfig(seed=4), [BAKER], Scripted(numbered), journal, Progress())
    assert begin(MemoryJournal(), "x", 1, (2, 3)) == {}


@pytest.mark.parametrize(
    ("config", "quoted"),
    [
        (QueryConfig(per_persona=0), "per_persona is 0"),
        (QueryConfig(similarity=1.5), "similarity is 1.5"),
        (QueryConfig(sampling=Sampling(temperature=0.0)), "temperature is 0"),
    ],
)
def test_impossible_settings_are_refused(config: QueryConfig, quoted: str) -> None:
    with pytest.raises(InputError, match=quoted):
        write_queries(config, [BAKER], Scripted(numbered), MemoryJournal(), Progress())
    with pytest.raises(InputError, match="given twice"):
        write_queries(QueryConfig(), [BAKER] * 2, Scripted(numbered), MemoryJournal(), Progress())


def test_seeds_depend_on_every_part() -> None:
    seeds = {seed_of(0, "a", 1), seed_of(0, "a", 2), seed_of(1, "a", 1), seed_of(0, "b", 1)}
    assert len(seeds) == 4
    assert all(0 <= s < 2**62 for s in seeds)


def test_the_embedded_model_writes_different_questions(model: LocalModel) -> None:
    library = load_personas()
    personas = [library["coding"], library["math"], library["safety_monitor"]]
    config = QueryConfig(per_persona=4, rounds=3)
    found = write_queries(config, personas, model, MemoryJournal(), Progress())
    assert found.shortfall == 0
    # Measured over 132 drafts: 97 % usable. Fewer than half would mean that the prompt broke.
    assert sum(sum(c.dropped.values()) for c in found.counts) <= 9
    for query in found.queries:
        assert query.text[-1] in ".?" and len(query.text.split()) >= 4
    again = write_queries(config, personas, model, MemoryJournal(), Progress())
    assert again == found, "the same seed writes the same questions"
