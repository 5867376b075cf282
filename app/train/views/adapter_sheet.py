"""One adapter as a sheet: what it belongs to, what it was distilled from, what was measured."""

from __future__ import annotations

from datetime import UTC, datetime

from app.common.estimates import short, table
from app.common.text import count, escape, fold, notice
from app.services.adapter_shelf import ShelfEntry


def adapter_sheet(entry: ShelfEntry | None) -> str:
    """Show what an adapter says of itself."""
    if entry is None:
        line = "There is no adapter yet. Train one above: the preset 'Demo' shows how it works."
        return notice("info", line)
    info = entry.info
    when = "Shipped with PRISM Studio"
    if entry.created is not None:
        when = datetime.fromtimestamp(entry.created, UTC).strftime("Trained %d %B %Y, %H:%M UTC")
    facts = [
        ("Base model", info.base.label, ""),
        ("Personas", ", ".join(info.personas) or "none", ""),
        ("Gate", "none: it is always on", "")
        if info.recipe == "rl"
        else ("Gate opens from", f"{info.threshold:.2f}", ""),
        ("Seed", str(info.seed), ""),
    ]
    measured = [(name, short(value), f"n = {value.n}") for name, value in info.metrics.items()]
    numbers = fold(
        f"What was measured: {count(len(measured), 'number')} with their 95 % intervals",
        table("On held-out questions", measured) if measured else "",
        style="",
    )
    notes = "".join(f"<li>{escape(note)}</li>" for note in info.notes)
    below = f'<ul class="px-notes">{notes}</ul>' if notes else ""
    return f'<div class="px-adapter">{table(f"{info.name}. {when}", facts)}{numbers}{below}</div>'
