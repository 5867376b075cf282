"""The arms of a figure: which cells stand for "the persona" and which for "the PRISM adapter".

The persona arm is the mean over all personas that are shown or, matched, each category's own expert
alone. Each adapter is an arm of its own; held always open (threshold 0) it is drawn only by the
threshold sweep, unless nothing else is known of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from prism_core.analysis.domains import title_of
from prism_core.analysis.grid import IntArray
from prism_core.analysis.pick import Pick
from prism_core.analysis.view import View
from prism_core.stats import Pairs


@dataclass(frozen=True, eq=False)
class Arm:
    """Something that is compared with neutral."""

    kind: str
    """`persona`, `control` or `adapter`."""
    title: str
    """Its name as shown to people."""
    rows: IntArray
    """Its cells."""
    pick: Pick
    """What a point of it means, categories left aside."""
    matched: bool = False
    """Whether only each category's own expert counts."""

    def pairs(self, view: View, score: str, category: str = "") -> Pairs:
        """The arm against neutral, in one category or in all that are shown."""
        if not self.matched:
            return view.pairs(self.rows, score, view.within(category))
        wanted = [category] if category else view.categories
        groups = [(view.own_experts(self.rows, c), view.within(c)) for c in wanted]
        return view.pairs_of_items(self.rows, score, groups)

    def pick_of(self, category: str = "") -> str:
        """The pick of a point in a category, as text."""
        fields = {**self.pick.__dict__, "category": category, "own": "1" if self.matched else ""}
        return Pick(**fields).to_text()


def arms_of(view: View, *, matched: bool = False) -> list[Arm]:
    """The arms that the filters leave: the persona arm, then the adapters."""
    found: list[Arm] = []
    personas = view.persona_rows()
    if matched:
        own = [view.own_experts(personas, c) for c in view.categories]
        personas = np.unique(np.concatenate(own)) if own else personas[:0]
    if len(personas):
        found.append(
            Arm(
                "persona",
                _persona_title(view, personas, matched),
                personas,
                Pick(arm="persona"),
                matched,
            )
        )
    return found + adapter_arms(view)


def adapter_arms(view: View, *, always_on: bool = False) -> list[Arm]:
    """One arm for each adapter and threshold that is shown."""
    cells = view.cells
    adapters = cells[cells["arm"] == "adapter"]
    found = []
    for label in dict.fromkeys(adapters["cell"]):
        rows = adapters.index[adapters["cell"] == label].to_numpy(dtype=np.intp)
        first = adapters.loc[rows[0]]
        siblings = adapters[adapters["adapter"] == first["adapter"]]
        is_open = first["threshold"] == 0
        if is_open and not always_on and (siblings["threshold"] != 0).any():
            continue
        title = f"PRISM, {first['adapter']}" + (", always on" if is_open else "")
        if not is_open and (siblings["threshold"] > 0).sum() > len(rows):
            title += f" from {first['threshold']:.2f}"
        found.append(Arm("adapter", title, rows, Pick(arm="adapter", cell=label)))
    return found


def length_arms(view: View, *, matched: bool = False) -> list[Arm]:
    """One arm for each length of the personas' texts that is shown."""
    rows = view.persona_rows()
    lengths = view.grid.cells["length"].to_numpy()[rows]
    return [
        Arm(
            "persona",
            f"{length} text",
            rows[lengths == length],
            Pick(arm="persona", length=length),
            matched,
        )
        for length in dict.fromkeys(lengths)
    ]


def persona_arms(view: View) -> list[Arm]:
    """One arm for each persona that is shown, controls left out, experts first."""
    cells = view.grid.cells
    rows = view.persona_rows()
    names = list(dict.fromkeys(cells["persona"].to_numpy()[rows]))
    kinds = {n: cells["persona_kind"][cells["persona"] == n].iloc[0] for n in names}
    names.sort(key=lambda n: kinds[n] != "expert")  # stable: otherwise as they appear
    personas = cells["persona"].to_numpy()[rows]
    return [
        Arm("persona", title_of(n), rows[personas == n], Pick(arm="persona", persona=n))
        for n in names
    ]


def _persona_title(view: View, rows: Sequence[int] | IntArray, matched: bool) -> str:
    if matched:
        return "each category's own expert"
    names = list(dict.fromkeys(view.grid.cells["persona"].to_numpy()[rows]))
    return title_of(names[0]) if len(names) == 1 else f"persona, mean of {len(names)}"
