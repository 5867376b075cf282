"""The operator's page as HTML: values in, text out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape

from app.services.event_log import Refusal

_STYLE = """
body{font:14px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem;
color-scheme:light dark}
table{border-collapse:collapse;width:100%;margin-bottom:2rem}
th,td{text-align:left;padding:.25rem .75rem .25rem 0;border-bottom:1px solid #8884}
td.n,th.n{text-align:right}form{display:inline}code{font-size:13px}
"""


@dataclass(frozen=True)
class ClientRow:
    """What one client holds."""

    name: str
    places: int
    pages: int
    runs: int
    files: int
    uploaded: int
    """Bytes in the last hour."""
    refused: int
    blocked: bool


@dataclass(frozen=True)
class RunLine:
    """A run, without its title: a visitor has written that."""

    id: str
    kind: str
    status: str
    client: str
    place: int | None
    stage: str
    fraction: float | None
    created: datetime


@dataclass(frozen=True)
class Report:
    """All that the page shows."""

    at: datetime
    waiting: int
    queue: int
    pages: int
    sessions: int
    clients: Sequence[ClientRow]
    runs: Sequence[RunLine]
    disk: Mapping[str, int]
    refusals: Sequence[Refusal]


def report_page(report: Report) -> str:
    """Draw the page; it asks for itself again every ten seconds."""
    head = (
        f"<p>{report.at:%Y-%m-%d %H:%M:%S} UTC. {report.waiting} of {report.queue} places in the "
        f"queue are taken, {report.pages} pages are open, {report.sessions} visits remembered.</p>"
    )
    parts = (
        *("<h2>Clients</h2>", _clients(report.clients)),
        *("<h2>Runs</h2>", _runs(report.runs)),
        *("<h2>Disk</h2>", _disk(report.disk)),
        *("<h2>Refused lately</h2>", _refusals(report.refusals)),
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Operator</title>'
        '<meta http-equiv="refresh" content="10">'
        f"<style>{_STYLE}</style></head><body><h1>PRISM Studio: operator</h1>{head}"
        f"{''.join(parts)}</body></html>"
    )


def _clients(clients: Sequence[ClientRow]) -> str:
    rows = [
        (
            _code(one.name),
            one.places,
            one.pages,
            one.runs,
            one.files,
            f"{one.uploaded / 1e6:,.1f} MB",
            one.refused,
            _button("admit" if one.blocked else "block", "client", one.name),
        )
        for one in clients
    ]
    names = ("Client", "Places", "Pages", "Runs", "Files", "Uploaded in an hour", "Refused", "")
    return _table(names, rows, "Nobody is here.")


def _runs(runs: Sequence[RunLine]) -> str:
    rows = []
    for run in runs:
        state = escape(run.status)
        if run.status == "queued" and run.place:
            state += f", place {run.place}"
        elif run.fraction is not None:
            state += f", {escape(run.stage)} {run.fraction:.0%}"
        unfinished = run.status in ("queued", "running")
        stop = _button("cancel", "run", run.id) if unfinished else ""
        made = f"{run.created:%d %b %H:%M}"
        rows.append((_code(run.id[:8]), run.kind, state, _code(run.client), made, stop))
    return _table(("Run", "Kind", "State", "Client", "Made (UTC)", ""), rows, "There are none.")


def _disk(disk: Mapping[str, int]) -> str:
    rows = [(name.capitalize(), f"{size / 1e6:,.0f} MB") for name, size in disk.items()]
    return _table(("Part", "Size"), rows, "")


def _refusals(refusals: Sequence[Refusal]) -> str:
    rows = [
        (f"{one.at:%d %b %H:%M:%S}", _code(one.client), escape(one.what), escape(one.why))
        for one in refusals
    ]
    return _table(("When (UTC)", "Client", "What", "Why"), rows, "Nothing was.")


def _table(names: Iterable[str], rows: Iterable[Iterable[object]], empty: str) -> str:
    """Draw a table of cells that are HTML already."""
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    if not body:
        return f"<p>{empty}</p>"
    head = "".join(f"<th>{name}</th>" for name in names)
    return f"<table><tr>{head}</tr>{body}</table>"


def _code(text: str) -> str:
    return f"<code>{escape(text)}</code>"


def _button(act: str, name: str, value: str) -> str:
    return (
        f'<form method="post" action="/operator/{act}">'
        f'<input type="hidden" name="{name}" value="{escape(value)}">'
        f"<button>{act.capitalize()}</button></form>"
    )
