"""From a question and a `PromptVariant` to the messages that a model reads.

The persona's text goes into the system turn or in front of the question in the user turn. A model
whose chat template has no system role gets the user turn whatever was asked for; callers learn the
placement that was really used from `effective_placement` and say so.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable

from prism_core.errors import InputError
from prism_core.types import Message, Persona, Placement, Prompt, PromptVariant

VariantOf = Callable[[str], PromptVariant]
"""The variant that a persona's answers were written with, by the persona's name."""

MAX_QUESTION_CHARACTERS = 8_000
"""Longer questions are refused before a tokenizer sees them."""


def clean_question(text: str) -> str:
    """Strip a person's question of surrounding blanks and invisible control characters.

    Line breaks, tabs and the joiners that emoji and Arabic script need are kept; direction
    overrides go, since they can make a page show something other than what a model reads.

    Raises:
        InputError: nothing readable is left, or the text is longer than is allowed.
    """
    kept = "".join(c for c in text if c in "\n\t\u200c\u200d" or unicodedata.category(c)[0] != "C")
    kept = kept.strip()
    if not kept:
        raise InputError(
            "The question is empty. Please type a question of at least one visible character."
        )
    if len(kept) > MAX_QUESTION_CHARACTERS:
        raise InputError(
            f"The question has {len(kept):,} characters ('{kept[:40]}...'); "
            f"at most {MAX_QUESTION_CHARACTERS:,} are allowed."
        )
    return kept


def effective_placement(wanted: Placement, has_system_role: bool) -> Placement:
    """Return the placement that a model can honour: `user` where there is no system role."""
    return wanted if has_system_role else "user"


def persona_text(persona: Persona, length: str) -> str:
    """Return the persona's text at a length, or raise an InputError that lists those it has."""
    text = persona.texts.get(length, "").strip()
    if not text:
        have = ", ".join(sorted(k for k, v in persona.texts.items() if v.strip()))
        raise InputError(
            f"Persona '{persona.name}' has no text of length '{length}'; it has {have}."
        )
    return text


def build_prompt(question: str, variant: PromptVariant, has_system_role: bool = True) -> Prompt:
    """Return the conversation for one question under a variant; neutral is the bare question.

    Raises:
        InputError: the persona has no text of the variant's length.
    """
    if variant.persona is None:
        return (Message("user", question),)
    text = persona_text(variant.persona, variant.length)
    if effective_placement(variant.placement, has_system_role) == "system":
        return (Message("system", text), Message("user", question))
    return (Message("user", f"{text}\n\n{question}"),)
