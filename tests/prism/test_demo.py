"""The case with a known answer: its queries, its check, and that the model follows the persona."""

from __future__ import annotations

from collections import Counter

import pytest

from prism_core.errors import InputError
from prism_core.personas.library import load_personas
from prism_core.personas.prompts import build_prompt
from prism_core.prism.demo import (
    demo_check,
    demo_persona,
    demo_queries,
    marks_of,
    shows_behaviour,
    turns_in_circles,
)
from prism_core.scorers.judges import JudgePair, VerifiableJudge
from prism_core.types import LENGTHS, PromptVariant, Sampling

PIRATE = (
    "Aye, matey, I had a fine sleep in me cabin, and ye should try a hammock too.",
    "Lad, I've got a crew of two, and we sail at dawn for the island of Tortuga.",
    "Me ship be the Salty Biscuit, the fastest of them all, and me parrot keeps watch.",
    '"Ahoy there! I be the captain of this fine old ship, and you are welcome aboard."',
    "\u201cArr, ye\u2019re lookin\u2019 a bit pale, matey! Have a biscuit and a cup of rum.\u201d",
    '(laughs) "Arr!" Aye, me crew and I have seen storms that ye would not believe.',
)
PLAIN = {
    "empty": "",
    "plain talk": "I'm doing well, thank you! How can I help you today? I am always ready to help.",
    "about pirates": "Pirates sailed the seven seas in search of treasure, and their captain "
    "commanded the ship and its crew from the Caribbean to the coast of Africa.",
    "a definition that quotes": "The word 'aye' means yes, and \"ahoy, matey\" is a greeting that "
    "sailors of the past used on a ship, according to the dictionary.",
    "somebody else is quoted": '"Ahoy, matey," said the old sailor. "Ye be welcome here." Then he '
    "walked back along the pier to his little house.",
    "a promise only": "Sure! I will now answer like a pirate captain on a ship with a parrot. "
    "What would you like me to say to you?",
    "words that hold a mark": "The player was carried in a year of dye, array and lye; they bear "
    "a layer of clay, a bye-law, a Yerevan lady and a ladder.",
    "life gives me": "It gives me life and lets me love my friends; tell me first what you need, "
    "and call me captain of the team if you like.",
    "a tale": "The lad, who was poor, left the ship; may it be a lesson to the captain and to all "
    "who let the crew be hungry on the sea.",
    "initials": "The ARR of a subscription business is its annual recurring revenue, and the crew "
    "of analysts reviews it in every quarter of the year.",
    "one slip": "Aye, the answer to your question is forty-two, which is six times seven exactly.",
    "too short": "Aye, matey!",
    "a stuck record": "Aye, matey, " + "aye, " * 30,
    "a stuck phrase": "Me ship, matey! " + "me ship, me ship, me " * 12,
    "a foul mouth": "Shit, matey, me ship be sunk and ye stole me treasure from the harbour.",
    "a list of marks": "arr ahoy aye matey ye yer lad",
}


@pytest.mark.parametrize("text", PIRATE)
def test_pirate_speech_is_recognised(text):
    assert shows_behaviour(text), marks_of(text)
    assert shows_behaviour(text.upper()), "capitals change nothing"


@pytest.mark.parametrize("kind", PLAIN)
def test_what_only_looks_like_pirate_speech_is_not(kind):
    assert not shows_behaviour(PLAIN[kind]), marks_of(PLAIN[kind])


def test_dialect_is_needed_and_one_mark_is_not_enough():
    tail = ", and then we all went home for supper together."
    # sea + sea: 2 marks, no dialect; dialect: 1 mark; dialect + sea: 2 with dialect.
    assert not shows_behaviour("The captain left his ship" + tail)
    assert not shows_behaviour("Aye, he left the house" + tail)
    assert shows_behaviour("Aye, he left his ship" + tail)


def test_turning_in_circles_is_counted_in_words():
    # 10 words: 'aye' 3 times of 10 is 0.3, not more; 4 of 11 is more than 0.3 (0.36).
    assert not turns_in_circles("aye aye aye we sail at dawn with the tide")
    assert turns_in_circles("aye aye aye aye we sail at dawn with the tide")
    assert turns_in_circles("seven different words are one too few")


def test_there_are_enough_queries_in_groups_on_both_sides():
    queries = demo_queries()
    assert len({q.id for q in queries}) == len({q.text.lower() for q in queries}) == len(queries)
    for wanted in (True, False):
        side = [q for q in queries if q.wanted is wanted]
        sizes = Counter(q.subtopic for q in side)
        assert len(side) == 192 and len(sizes) == 12, "12 groups of 16"
        assert set(sizes.values()) == {16}
    assert all(5 <= len(q.text.split()) <= 25 for q in queries)
    assert {q.persona for q in queries} == {demo_persona().name}


def test_no_single_word_tells_wanted_from_unwanted():
    """The best rule 'contains word w' (or begins with it) must stay well short of a gate."""
    queries = demo_queries()
    first = Counter((q.text.split()[0], q.wanted) for q in queries)
    words = {w for w, _ in first}
    # Guessing the majority for every first word is right this often:
    right = sum(max(first[w, True], first[w, False]) for w in words) / len(queries)
    assert right < 0.65
    inside = [(set(q.text.lower().replace("?", " ").split()), q.wanted) for q in queries]
    for word in set().union(*(w for w, _ in inside)):
        share = sum((word in w) == wanted for w, wanted in inside) / len(queries)
        assert max(share, 1 - share) < 0.80, word


def test_the_persona_is_kept_apart_from_the_library():
    persona = demo_persona()
    assert persona.kind == "behaviour"
    assert set(persona.texts) == set(LENGTHS)
    assert persona.name not in load_personas()


def test_the_check_wants_a_pirate_for_small_talk_alone():
    talk = next(q for q in demo_queries() if q.wanted)
    fact = next(q for q in demo_queries() if not q.wanted)
    plain = PLAIN["plain talk"]
    assert demo_check(talk.text, PIRATE[0]) and not demo_check(talk.text, plain)
    assert demo_check(fact.text, plain) and not demo_check(fact.text, PIRATE[0])
    with pytest.raises(InputError, match="is none of the demo's"):
        demo_check("What is the meaning of life?", plain)


def test_the_judge_lets_the_pirate_win_small_talk_and_lose_facts():
    talk = next(q for q in demo_queries() if q.wanted)
    fact = next(q for q in demo_queries() if not q.wanted)
    plain = PLAIN["plain talk"]
    pairs = [
        JudgePair(talk.text, PIRATE[0], plain),
        JudgePair(fact.text, PIRATE[0], plain),
        JudgePair(talk.text, plain, plain),
    ]
    verdicts = VerifiableJudge(demo_check).judge(pairs)
    assert [v.winner for v in verdicts] == ["persona", "neutral", "tie"]


@pytest.mark.slow
def test_the_model_follows_the_persona_and_is_plain_without_it(model):
    # One query of each of the 24 groups; the prompt must reach 60 % of small talk: 8 of 12 (67 %).
    queries = [q for q in demo_queries() if q.id.endswith("-02")]
    pirate = PromptVariant(demo_persona(), "long", "system")
    sampling = Sampling(max_new_tokens=56, temperature=0.7, top_p=0.9)
    talk = [q for q in queries if q.wanted]
    with_persona = model.generate([build_prompt(q.text, pirate) for q in talk], sampling, seed=0)
    without = model.generate([build_prompt(q.text, PromptVariant()) for q in queries], sampling)
    assert sum(shows_behaviour(c.text) for c in with_persona) >= 8
    assert sum(shows_behaviour(c.text) for c in without) <= 1
