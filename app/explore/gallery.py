"""Figures that were drawn lately, so that going back to one, or opening its numbers, is free."""

from __future__ import annotations

import threading
from collections import OrderedDict

from app.services.study_shelf import OpenStudy
from prism_core.figures import FigureOptions, FigureResult, Filters, find_figure, make_view

_KEPT = 64
_Key = tuple[str, str, str, Filters, FigureOptions]


class Gallery:
    """Figures by study, filters and options. Safe to share among threads."""

    def __init__(self) -> None:
        self._drawn: OrderedDict[_Key, FigureResult] = OrderedDict()
        self._guard = threading.Lock()

    def get(
        self, opened: OpenStudy, name: str, filters: Filters, options: FigureOptions
    ) -> FigureResult:
        """Draw a figure of a study, unless it was just drawn.

        Raises:
            NotFoundError: there is no such figure.
        """
        kind = find_figure(name)
        key = (opened.id, opened.mark, name, filters, options)
        with self._guard:
            if key in self._drawn:
                self._drawn.move_to_end(key)
                return self._drawn[key]
        found = kind(make_view(opened.grid, filters), options)
        with self._guard:
            self._drawn[key] = found
            while len(self._drawn) > _KEPT:
                self._drawn.popitem(last=False)
        return found
