"""Were verifiable instructions followed (IFEval)? The verifiers of lm-evaluation-harness say so.

The strict rule: every instruction of the prompt is verified on the answer as it is, to the letter.
The score is the share of instructions followed. Two verifiers split text by nltk's `punkt_tab`,
which nltk would download; the package llama-index-core brings the same files, and they are read
from there (it is never imported), so that nothing is fetched.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from prism_core.checks.check import Grade, MissingPackageError, Options
from prism_core.errors import InputError

MAX_CHARACTERS = 200_000
"""Longer answers follow no instruction; the verifiers are slow on them."""
NEEDS = ("lm_eval", "langdetect", "immutabledict", "nltk", "llama_index")
_PUNKT = "tokenizers/punkt_tab/english/"


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
    followed = []
    for name, given in zip(ids, all_kwargs, strict=True):
        if name not in known:
            raise InputError(f"IFEval has no instruction '{name}'.")
        instruction = known[name](name)
        instruction.build_description(**{k: v for k, v in given.items() if v not in (None, "")})
        if "prompt" in (instruction.get_instruction_args() or {}):
            instruction.build_description(prompt=str(options["prompt"]))
        followed.append(bool(instruction.check_following(text)))
    broken = [n for n, ok in zip(ids, followed, strict=True) if not ok]
    share = sum(followed) / len(followed)
    why = f"Not followed: {', '.join(broken)}." if broken else "All instructions are followed."
    return Grade(share, not broken, why)


@lru_cache(maxsize=1)
def verifiers() -> Mapping[str, Any]:
    """Load the verifiers, by instruction id.

    Raises:
        MissingPackageError: they, or the data that they split text by, are not installed.
    """
    missing = [name for name in NEEDS if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingPackageError(
            f"IFEval's verifiers need {', '.join(missing)}: pip install 'prism-studio[eval]'"
        )
    _offer_punkt()
    # The import would download nltk's data if it were missing, and prints what it does.
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        registry = importlib.import_module("lm_eval.tasks.ifeval.instructions_registry")
        importlib.import_module("langdetect").DetectorFactory.seed = 0
    found: Mapping[str, Any] = registry.INSTRUCTION_DICT
    return found


def _offer_punkt() -> None:
    """Let nltk find the files that llama-index-core brings, unless it has its own."""
    data = importlib.import_module("nltk").data
    spec = importlib.util.find_spec("llama_index.core")
    for place in (spec.submodule_search_locations or []) if spec is not None else []:
        data.path.append(str(Path(place) / "_static" / "nltk_cache"))
    try:
        data.find(_PUNKT)
    except LookupError as error:
        raise MissingPackageError(
            "IFEval's verifiers split text by nltk's punkt_tab, which is not here: "
            "pip install 'llama-index-core>=0.14'"
        ) from error
