"""What rows of tokens begin with in common: a template, a persona's text, a question."""

from __future__ import annotations

from collections.abc import Sequence

from prism_core.inference.rows import Ids, Rows


def shared_prefix(rows: Rows) -> int:
    """Count the tokens that all rows begin with, leaving at least one token of every row."""
    shortest = min(len(r) for r in rows) - 1
    first = rows[0]
    for i in range(shortest):
        if any(r[i] != first[i] for r in rows):
            return i
    return shortest


def groups_alike(rows: Rows, alike: int) -> list[list[int]]:
    """Group rows that begin with as many equal tokens; those like no other make one group."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for i, row in enumerate(rows):
        groups.setdefault(tuple(row[:alike]), []).append(i)
    alone = [group[0] for group in groups.values() if len(group) == 1]
    return [group for group in groups.values() if len(group) > 1] + ([alone] if alone else [])


def beginnings_by_level(rows: Rows, worth: int) -> list[list[Ids]]:
    """Return the beginnings that several rows share, as a tree from its root, level by level.

    A beginning is listed where reading it once saves at least `worth` tokens.
    """
    levels: list[list[Ids]] = []

    def split(members: Rows, start: int, level: int) -> None:
        alike = start + shared_prefix([row[start:] for row in members])
        if (alike - start) * (len(members) - 1) >= worth:
            if level == len(levels):
                levels.append([])
            levels[level].append(members[0][:alike])
            start, level = alike, level + 1
        parts: dict[int, list[Ids]] = {}
        for row in members:
            if len(row) > alike + 1:  # a row that ends here shares nothing more
                parts.setdefault(row[alike], []).append(row)
        for part in parts.values():
            if len(part) > 1:
                split(part, start, level)

    if len(rows) > 1:
        split(rows, 0, 0)
    return levels


def worth_reading_apart(rows: Sequence[Ids], least: int, saved: int) -> int:
    """Count the tokens of a beginning that is to be read once for all these rows, or 0.

    Worth it is one of at least `least` tokens, or one that saves as many as `saved`: a short one
    pays off only where many rows have it, since reading it apart is a pass more.
    """
    shared = shared_prefix(rows) if len(rows) > 1 else 0
    return shared if shared >= least or shared * (len(rows) - 1) >= saved else 0
