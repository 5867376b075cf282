"""The shipped personas: exactly the fifteen, whole, distinct and of the length they promise.

Lengths are counted by the embedded model's own tokenizer, without special tokens, since that is
what a prompt is made of.
"""

from __future__ import annotations

import re
from itertools import combinations
from statistics import mean

import pytest

from prism_core.personas.library import LIBRARY, dump_persona, load_personas, parse_persona
from prism_core.types import LENGTHS, Persona

EXPECTED = {
    "expert": {
        "writing",
        "roleplay",
        "reasoning",
        "math",
        "coding",
        "extraction",
        "stem",
        "humanities",
    },
    "behaviour": {"critic", "safety_monitor", "helpful", "compliant"},
    "control": {"plain_assistant", "irrelevant", "neutral_text"},
}
NAMES = sorted(set().union(*EXPECTED.values()))
TARGET_TOKENS = {"min": 5, "short": 75, "long": 150}
TOLERANCE = 0.20


def count_tokens(tokenizer, text: str) -> int:
    return len(tokenizer(text, add_special_tokens=False).input_ids)


@pytest.fixture(scope="module")
def personas() -> dict[str, Persona]:
    return load_personas()


def test_there_are_exactly_the_fifteen_each_of_its_kind(personas):
    found = {k: {n for n, p in personas.items() if p.kind == k} for k in EXPECTED}
    assert found == EXPECTED
    assert len(personas) == 8 + 4 + 3


def test_the_file_stem_is_the_name():
    for path in LIBRARY.glob("*.yaml"):
        assert parse_persona(path.read_text(encoding="utf-8")).name == path.stem


@pytest.mark.parametrize("name", NAMES)
def test_each_length_is_within_a_fifth_of_its_target(name, personas, tokenizer):
    # min 5 -> 4..6, short 75 -> 60..90, long 150 -> 120..180
    assert set(personas[name].texts) == set(LENGTHS)
    for length, target in TARGET_TOKENS.items():
        tokens = count_tokens(tokenizer, personas[name].texts[length])
        assert abs(tokens - target) <= TOLERANCE * target, f"{name}/{length}: {tokens} tokens"


@pytest.mark.parametrize("length", ["short", "long"])
def test_neutral_text_matches_the_length_of_the_other_personas(length, personas, tokenizer):
    # A length-matched control is only fair if it is close to what it is compared with.
    others = [
        count_tokens(tokenizer, p.texts[length])
        for p in personas.values()
        if p.name != "neutral_text"
    ]
    own = count_tokens(tokenizer, personas["neutral_text"].texts[length])
    assert min(others) <= own <= max(others)
    assert abs(own - mean(others)) <= 0.05 * mean(others)


def test_neutral_text_addresses_nobody_and_asks_for_nothing(personas):
    spoken_to = re.compile(r"\b(you|your|yours|yourself|i|me|my|we|our|us|please)\b|[?!]", re.I)
    for length, text in personas["neutral_text"].texts.items():
        assert spoken_to.search(text) is None, length


def test_every_other_persona_speaks_to_the_model(personas):
    for persona in personas.values():
        if persona.name != "neutral_text":
            for length, text in persona.texts.items():
                assert text.startswith("You "), f"{persona.name}/{length}"


def test_all_texts_are_distinct(personas):
    texts = [t for p in personas.values() for t in p.texts.values()]
    assert len(set(texts)) == 15 * 3


def test_no_sentence_is_shared_by_two_experts_or_behaviours(personas):
    """Otherwise two personas would partly be the same treatment."""
    sentences = {
        p.name: {s for t in p.texts.values() for s in re.split(r"(?<=[.?]) ", t)}
        for p in personas.values()
        if p.kind != "control"
    }
    for a, b in combinations(sentences, 2):
        assert not sentences[a] & sentences[b], (a, b)


def test_subtopics_are_enough_short_and_distinct(personas):
    for persona in personas.values():
        assert 12 <= len(persona.subtopics) <= 16, persona.name
        assert len({s.lower() for s in persona.subtopics}) == len(persona.subtopics)
        assert all(len(s.split()) <= 10 for s in persona.subtopics), persona.name


def test_titles_and_domains_are_distinct(personas):
    assert len({p.title for p in personas.values()}) == 15
    assert len({p.domain for p in personas.values()}) == 15


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_persona_survives_export_and_import(name, personas):
    assert parse_persona(dump_persona(personas[name])) == personas[name]
