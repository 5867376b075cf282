"""What a study's table says: grids, paired effects and summaries. Numbers only.

`make_view(make_grid(study.rows), filters)` is what every figure is made from.
"""

from prism_core.analysis.grid import ScoreGrid, make_grid
from prism_core.analysis.pick import Pick, read_pick
from prism_core.analysis.view import Filters, View, make_view

__all__ = ["Filters", "Pick", "ScoreGrid", "View", "make_grid", "make_view", "read_pick"]
