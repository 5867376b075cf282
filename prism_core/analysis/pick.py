"""Which answers lie behind a point: a small value that travels through a page as text.

A drawn point carries `Pick.to_text()` as its custom data. What comes back from a browser may have
been tampered with, so `read_pick` takes only known fields with short texts; a pick narrows down
rows and can do nothing else.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields

from prism_core.errors import InputError
from prism_core.storage import loads

_LONGEST = 4_000
_LONGEST_VALUE = 200


@dataclass(frozen=True)
class Pick:
    """A choice of answers; an empty field means all."""

    model: str = ""
    arm: str = ""
    """`neutral`, `persona` or `adapter`."""
    cell: str = ""
    persona: str = ""
    persona_kind: str = ""
    """`expert`, `behaviour` or `control`."""
    length: str = ""
    placement: str = ""
    adapter: str = ""
    task: str = ""
    category: str = ""
    own: str = ""
    """`1` where only each category's own expert is meant."""

    def to_text(self) -> str:
        """Return the pick as compact JSON, without what is empty."""
        return json.dumps({k: v for k, v in asdict(self).items() if v}, separators=(",", ":"))


def read_pick(text: str) -> Pick:
    """Return the pick that a text holds, or raise an InputError."""
    problem = InputError("That point does not say which answers lie behind it. Choose another.")
    if not isinstance(text, str) or not 0 < len(text) <= _LONGEST:
        raise problem
    try:
        data = loads(text)
    except InputError as error:
        raise problem from error
    if not isinstance(data, dict) or not data.keys() <= {field.name for field in fields(Pick)}:
        raise problem
    if not all(isinstance(v, str) and len(v) <= _LONGEST_VALUE for v in data.values()):
        raise problem
    return Pick(**data)
