"""The arms of a figure: which cells stand for "the persona" and which for "the PRISM adapter".

The persona arm is the mean over all personas that are shown or, matched, each category's own expert
alone. Each adapter is an arm of its own; held always open (threshold 0) it is drawn only by the
threshold sweep, unless nothing else is known of it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

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
    rows: IntArray
    """Its cells."""
    pick: Pick
    """What a point of it means, whatever the category."""
    matched: bool = False
    """Whether only each category's own expert counts."""

    def pairs(self, view: View, score: str, category: str = "") -> Pairs:
        """Pair the arm with neutral, in one category or in all that are shown."""
        if not self.matched:
            return view.pairs(self.rows, score, view.within(category))
        wanted = [category] if category else view.categories
        groups = [(view.own_experts(self.rows, c), view.within(c)) for c in wanted]
        return view.pairs_of_items(self.rows, score, groups)

    def pick_of(self, category: str = "") -> str:
        """Return the pick of a point in a category, as text."""
        own = "1" if self.matched else ""
        return replace(self.pick, category=category, own=own).to_text()


def arms_of(view: View, *, matched: bool = False) -> list[Arm]:
    """Return the arms that the filters leave: the persona arm, then the adapters."""
    found: list[Arm] = []
    personas = view.persona_rows()
    if matched:
        own = [view.own_experts(personas, c) for c in view.categories]
        personas = np.unique(np.concatenate(own)) if own else personas[:0]
    if len(personas):
        title = _persona_title(view, personas, matched)
        found.append(Arm("persona", title, personas, Pick(arm="persona"), matched))
    return found + adapter_arms(view)


def adapter_arms(view: View, *, always_on: bool = False) -> list[Arm]:
    """Return one arm for each adapter and threshold that is shown."""
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
    """Return one arm for each length of the personas' texts that is shown."""
    return [
        Arm("persona", f"{length} text", rows, Pick(arm="persona", length=length), matched)
        for length, rows in view.split(view.persona_rows(), "length").items()
    ]


def persona_arms(view: View) -> list[Arm]:
    """Return one arm for each persona that is shown: experts first, controls left out."""
    found = [
        Arm("persona", title_of(name), rows, Pick(arm="persona", persona=name))
        for name, rows in view.split(view.persona_rows(), "persona").items()
    ]
    kinds = view.grid.cells["persona_kind"]
    return sorted(found, key=lambda arm: kinds.iat[arm.rows[0]] != "expert")


def control_arms(view: View) -> list[Arm]:
    """Return one arm for each control text that is shown."""
    return [
        Arm("control", f"{title_of(name)} (control)", rows, Pick(arm="persona", persona=name))
        for name, rows in view.split(view.persona_rows(controls=True), "persona").items()
    ]


def _persona_title(view: View, rows: IntArray, matched: bool) -> str:
    if matched:
        return "each category's own expert"
    names = list(view.split(rows, "persona"))
    return title_of(names[0]) if len(names) == 1 else f"persona, mean of {len(names)}"
