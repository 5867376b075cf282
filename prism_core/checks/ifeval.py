"""Were verifiable instructions followed (IFEval)? The verifiers of lm-evaluation-harness say so.

The strict rule: every instruction of the prompt is verified on the answer as it is. The score is
the share of instructions followed. Two verifiers split text by nltk's `punkt_tab` data; where that
is not installed, sentences are counted by our own rule, and the reason says so.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from prism_core.checks import text as read
from prism_core.checks.check import Grade, MissingPackageError, Options
from prism_core.errors import InputError

MAX_CHARACTERS = 200_000
"""Longer answers follow no instruction; the verifiers are slow on them."""
_NEEDS = ("lm_eval", "langdetect", "immutabledict", "nltk")
_SENTENCES = "length_constraints:number_sentences"
_CAPITAL_WORDS = "change_case:capital_word_frequency"


def grade_ifeval(options: Options, text: str) -> Grade:
    """Check `instructions` (ids) with their `kwargs`, both as in the published file.

    Raises:
        MissingPackageError: the verifiers are not installed.
        InputError: an instruction is unknown.
    """
    if len(text) > MAX_CHARACTERS:
        return Grade(0.0, False, f"The answer has more than {MAX_CHARACTERS:,} characters.")
    ids, all_kwargs = list(options["instructions"]), list(options["kwargs"])
    known = verifiers()
    followed, notes = [], ""
    for name, given in zip(ids, all_kwargs, strict=True):
        if name not in known:
            raise InputError(f"IFEval has no instruction '{name}'.")
        kwargs = {k: v for k, v in given.items() if v is not None and v != ""}
        if name in (_SENTENCES, _CAPITAL_WORDS) and not has_punkt():
            followed.append(_by_own_rule(name, kwargs, text))
            notes = " Sentences and words were split by a simple rule: nltk has no punkt_tab data."
            continue
        instruction = known[name](name)
        instruction.build_description(**kwargs)
        if "prompt" in (instruction.get_instruction_args() or {}):
            instruction.build_description(prompt=str(options["prompt"]))
        followed.append(bool(instruction.check_following(text)))
    broken = [n for n, ok in zip(ids, followed, strict=True) if not ok]
    share = sum(followed) / len(followed)
    why = f"Not followed: {', '.join(broken)}." if broken else "All instructions are followed."
    return Grade(share, not broken, why + notes)


@lru_cache(maxsize=1)
def verifiers() -> Mapping[str, Any]:
    """Load the verifiers, by instruction id.

    Raises:
        MissingPackageError: they are not installed.
    """
    missing = [name for name in _NEEDS if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingPackageError(
            f"IFEval's verifiers need {', '.join(missing)}: pip install 'lm-eval[ifeval]==0.4.13'"
        )
    # The import tries to download nltk's data and prints that it could not.
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        registry = importlib.import_module("lm_eval.tasks.ifeval.instructions_registry")
        importlib.import_module("langdetect").DetectorFactory.seed = 0
    found: Mapping[str, Any] = registry.INSTRUCTION_DICT
    return found


@lru_cache(maxsize=1)
def has_punkt() -> bool:
    """Whether nltk finds its data for splitting sentences."""
    try:
        importlib.import_module("nltk").data.find("tokenizers/punkt_tab")
    except LookupError:
        return False
    return True


def _by_own_rule(name: str, kwargs: Mapping[str, Any], text: str) -> bool:
    """Verify without nltk's data what the two verifiers that need it would."""
    if name == _SENTENCES:
        count, wanted = len(read.sentences(text)), int(kwargs["num_sentences"])
        relation = kwargs["relation"]
    else:
        count = sum(w.strip(".,;:!?\"'()*").isupper() for w in read.words(text))
        wanted, relation = int(kwargs["capital_frequency"]), kwargs["capital_relation"]
    return count < wanted if relation == "less than" else count >= wanted
