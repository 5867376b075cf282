"""Figures that were drawn lately, so that going back to one, or opening its numbers, is free."""

from __future__ import annotations

from app.services.study_shelf import OpenStudy
from prism_core.analysis import Filters, make_view
from prism_core.figures import FigureOptions, FigureResult, find_figure
from prism_core.utils.lru import LRU

_Key = tuple[str, str, str, Filters, FigureOptions]


class Gallery:
    """Figures by study, filters and options. Safe to share among threads."""

    def __init__(self) -> None:
        self._drawn: LRU[_Key, FigureResult] = LRU(64)

    def get(
        self, opened: OpenStudy, name: str, filters: Filters, options: FigureOptions
    ) -> FigureResult:
        """Draw a figure of a study, unless it was just drawn.

        Raises:
            NotFoundError: there is no such figure.
        """
        kind = find_figure(name)
        return self._drawn.get_or_make(
            (opened.id, opened.mark, name, filters, options),
            lambda: kind(make_view(opened.grid, filters), options),
        )
