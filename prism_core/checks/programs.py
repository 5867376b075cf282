"""Does the code work? The answer's function is called on tests, in a sandbox."""

from __future__ import annotations

import math
import re

from prism_core.checks.check import Grade, Options, pass_or_fail
from prism_core.checks.sandbox import Limits, run_function

_FENCE = re.compile(r"```[ \t]*(?:python|py|python3)?[ \t]*\n(.*?)(?:```|\Z)", re.DOTALL | re.I)


def find_code(text: str, entry: str) -> str | None:
    """Return the Python that defines `entry`: the last such fence, else the bare text."""
    mark = f"def {entry}"
    blocks = [block for block in _FENCE.findall(text) if mark in block]
    if blocks:
        return str(blocks[-1])
    if mark not in text or "```" in text:
        return None
    lines = text.split("\n")
    starts = ("def ", "import ", "from ", "@", "class ")
    first = next((i for i, line in enumerate(lines) if line.startswith(starts)), None)
    if first is None:
        return None
    code = []
    for line in lines[first:]:
        # Prose after the code begins at the margin and is not a statement.
        if line and not line[0].isspace() and not line.startswith((*starts, "#", ")", "]", "}")):
            break
        code.append(line)
    return "\n".join(code)


def grade_code(options: Options, text: str) -> Grade:
    """Call the function `entry` of the answer's code on `tests` (each has `args` and `expected`).

    Everything has to be right: a share of the tests would reward answers that always say the same.
    """
    entry, tests = str(options["entry"]), list(options["tests"])
    code = find_code(text, entry)
    if code is None:
        return pass_or_fail(False, f"There is no Python function '{entry}' in the answer.")
    limits = Limits(seconds=float(options.get("seconds", 4)))
    result = run_function(code, entry, [t["args"] for t in tests], limits)
    if result.outcome != "done":
        return pass_or_fail(False, f"The code did not run to its end: {result.error}")
    for test, value in zip(tests, result.values, strict=True):
        if not _equal(value, test["expected"]):
            given = ", ".join(repr(a) for a in test["args"])
            return pass_or_fail(
                False,
                f"{entry}({given[:80]}) gave {repr(value)[:80]}; "
                f"{repr(test['expected'])[:80]} was expected.",
            )
    return pass_or_fail(True, f"All {len(tests)} tests pass.")


def _equal(found: object, wanted: object) -> bool:
    """Whether two JSON values are equal: floats within rounding; true is not 1."""
    if isinstance(found, bool) or isinstance(wanted, bool):
        return found is wanted
    if isinstance(found, int | float) and isinstance(wanted, int | float):
        if isinstance(found, int) and isinstance(wanted, int):
            return found == wanted
        try:
            return math.isclose(found, wanted, rel_tol=1e-9, abs_tol=1e-9)
        except OverflowError:
            return False
    if isinstance(found, list) and isinstance(wanted, list):
        return len(found) == len(wanted) and all(
            _equal(f, w) for f, w in zip(found, wanted, strict=True)
        )
    if isinstance(found, dict) and isinstance(wanted, dict):
        return found.keys() == wanted.keys() and all(_equal(found[k], wanted[k]) for k in wanted)
    return type(found) is type(wanted) and found == wanted
