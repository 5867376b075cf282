"""The `demo` preset: a case with a known answer, to see whether PRISM finds it.

Captain Barnacle, a pirate, is good company for small talk and in the way of a plain question. Both
kinds of question are ours (`assets/demo/queries.yaml`), grouped, and marked as wanted or not. A
program verifies the behaviour: an answer is in character where it has two different marks of
pirate speech, one of them dialect, outside quotation marks, in a text that does not turn in
circles or turn coarse. No model is needed to judge, and every number can be checked by reading.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from functools import lru_cache

from prism_core.errors import InputError
from prism_core.personas.library import parse_persona
from prism_core.prism.records import Query
from prism_core.types import Persona
from prism_core.utils.assets import ASSETS
from prism_core.utils.plain_yaml import plain_documents

FOLDER = ASSETS / "demo"
"""Where the persona and the queries live."""
MIN_MARKS = 2
"""An answer in character has at least this many different marks, one of them dialect."""
MIN_DIFFERENT_WORDS = 8
"""It says at least this many different words."""
MAX_SHARE_OF_ONE_WORD = 0.3
"""A text of which one word makes up more than this turns in circles ('Aye, aye, aye, ...')."""

_OWNED = (
    "ship|boat|crew|mates?|parrot|treasure|gold|rum|name|home|life|heart|love|own|old|dear|first|"
    "lads?|lass|lady|mind|eyes?|hands?|mother|father|family|friends?|wife|brothers?|captain|hat|"
    "boots|job|work|days?|bed|supper|breakfast|dreams?|beauty|soul|cabin"
)
_DIALECT: Mapping[str, str] = {
    "arr": r"a+r{2,}g?h?(?=[,.!])",
    "ahoy": r"ahoy",
    "avast": r"avast",
    "aye": r"aye",
    "matey": r"mateys?|me heart(?:y|ies)",
    "ye": r"ye|ye'(?:re|ve|ll|d)",
    "yer": r"yer",
    # To somebody: 'Lad, I ...', 'come in, lass!'; not 'the lad went home'.
    "lad": r"(?<!\w )(?:lads?|laddie|lass|lassie)(?=[,.!?])|m[ey] (?:lads?|lass|lassie)",
    # Not after a verb: 'it gives me life' is nobody's dialect.
    "me for my": rf"(?:(?<!\w )|(?<=\band )|(?<=\ball )|(?<=\b(?:of|in|on|by|be|is) )"
    rf"|(?<=\bwith ))me (?:{_OWNED})",
    "be for am": r"(?<!\w )(?:i|he|she|it|they) be",
    "landlubber": r"landlubbers?",
    "shiver": r"shiver me",
    "dropped g": r"(?:sail|plunder|look|talk|tell|say|drink|sing|com|tak|feel|liv|fight|hav)in'",
}
_SEA: Mapping[str, str] = {
    "pirate": r"pirates?",
    "captain": r"captain|cap'n",
    "barnacle": r"barnacle",
    "ship": r"ships?|salty biscuit",
    "crew": r"crew|crewmates?",
    "sail": r"sail|sailed|sailing|sailors?",
    "seas": r"seven seas|high seas|seas?",
    "treasure": r"treasures?|booty|doubloons?",
    "parrot": r"parrot|polly",
    "rum": r"rum|grog",
}
_DOUBLE = re.compile(r"\"[^\"\n]*\"")
_SINGLE = re.compile(r"(?<!\w)'[^'\n]{1,60}'(?!\w)")
_COARSE = re.compile(r"\b(?:fuck|shit|bitch|whore|bastard|slut|cunt|asshole|rape)", re.IGNORECASE)
_STRAIGHT = str.maketrans("\u2018\u2019\u201c\u201d", "''\"\"")


def _compiled(marks: Mapping[str, str]) -> dict[str, re.Pattern[str]]:
    # A hyphen or an apostrophe before the mark belongs to another word.
    return {k: re.compile(rf"(?<![\w'-])(?:{v})(?![\w-])", re.IGNORECASE) for k, v in marks.items()}


_DIALECT_MARKS = _compiled(_DIALECT)
_SEA_MARKS = _compiled(_SEA)


@lru_cache(maxsize=1)
def demo_persona() -> Persona:
    """Return Captain Barnacle, who is kept apart from the library of personas."""
    return parse_persona((FOLDER / "persona.yaml").read_text(encoding="utf-8"))


@lru_cache(maxsize=1)
def demo_queries() -> tuple[Query, ...]:
    """Return all queries, wanted and unwanted; a query's group is its `subtopic`."""
    (data,) = plain_documents((FOLDER / "queries.yaml").read_text(encoding="utf-8"))
    name = demo_persona().name
    return tuple(
        Query(f"demo-{group}-{i:02d}", name, group, text, wanted=side == "wanted")
        for side in ("wanted", "unwanted")
        for group, texts in data[side].items()
        for i, text in enumerate(texts, start=1)
    )


def marks_of(text: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Find the different marks of pirate speech in a text: of dialect, and of the sea."""
    said = text.translate(_STRAIGHT).strip()
    if '"' in said.strip('"'):  # else it is one speech, quoted as a whole or cut off
        said = _DOUBLE.sub(" ", said)
    said = _SINGLE.sub(" ", said)
    return (
        tuple(name for name, mark in _DIALECT_MARKS.items() if mark.search(said)),
        tuple(name for name, mark in _SEA_MARKS.items() if mark.search(said)),
    )


def turns_in_circles(text: str) -> bool:
    """Whether a text says too few different words, or one of them over and over."""
    words = Counter(re.findall(r"[a-z]+(?:'[a-z]+)?", text.lower()))
    if len(words) < MIN_DIFFERENT_WORDS:
        return True
    return max(words.values()) > MAX_SHARE_OF_ONE_WORD * words.total()


def shows_behaviour(text: str) -> bool:
    """Whether an answer is in character: pirate speech, civil, and not a stuck record."""
    dialect, sea = marks_of(text)
    speaks = bool(dialect) and len(dialect) + len(sea) >= MIN_MARKS
    return speaks and not turns_in_circles(text) and not _COARSE.search(text)


@lru_cache(maxsize=1)
def _wanted() -> dict[str, bool]:
    return {q.text: bool(q.wanted) for q in demo_queries()}


def demo_check(query: str, answer: str) -> bool:
    """Whether an answer is right: in character where that is wanted, and plain where not.

    Made for `prism_core.scorers.judges.VerifiableJudge`.

    Raises:
        InputError: the query is none of the demo's own, so what is wanted is unknown.
    """
    wanted = _wanted().get(query.strip())
    if wanted is None:
        raise InputError(
            f"'{query[:60]}' is none of the demo's {len(_wanted())} queries "
            f"({FOLDER.name}/queries.yaml), so whether a pirate is wanted is not known."
        )
    return shows_behaviour(answer) is wanted
