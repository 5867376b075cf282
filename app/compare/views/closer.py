"""A closer look at two answers: their words, the persona's pull, and the model's own verdict.

Colours always come with a second sign (underline, arrow, number), so that nothing depends on
telling two hues apart.
"""

from __future__ import annotations

import difflib
import math

from app.common.text import count, escape, word_diff
from prism_core.compare.logprob_shift import LogprobShift, largest_shifts
from prism_core.types import Verdict

_STRONG = 3.0
"""A pull of this many nats (a factor of 20) gets the deepest colour."""


def diff_panel(left: str, right: str, left_title: str, right_title: str) -> str:
    """Show two answers, with the words marked that only one of them has."""
    shown_a, shown_b = word_diff(left, right)
    words_a, words_b = left.split(), right.split()
    blocks = difflib.SequenceMatcher(None, words_a, words_b, autojunk=False).get_matching_blocks()
    shared = sum(block.size for block in blocks)
    total = max(len(words_a), len(words_b))
    share = f" ({shared / total:.0%} of the longer answer)" if total else ""
    return (
        f'<p class="px-lead">{count(shared, "word")} in common, in the same order{share}.</p>'
        '<div class="px-diff">'
        f"<div><h4>{escape(left_title)}</h4>"
        f'<div class="px-text" dir="auto">{shown_a}</div></div>'
        f"<div><h4>{escape(right_title)}</h4>"
        f'<div class="px-text" dir="auto">{shown_b}</div></div></div>'
    )


def pull_panel(pulled: LogprobShift, persona_title: str, whose: str) -> str:
    """Colour an answer by the persona's pull on each token; add the sum and the strongest."""
    spans = "".join(_token(t, p) for t, p in zip(pulled.tokens, pulled.shifts, strict=True))
    n = len(pulled.shifts)
    mean = f", {pulled.total / n:+.3f} a token" if n else ""
    return (
        f'<p class="px-lead"><strong>{pulled.total:+.2f} nats</strong> in sum over '
        f"{count(n, 'token')}{mean}: {_meaning(pulled.total, persona_title, whose)}</p>"
        '<p class="px-legend"><span class="px-for" style="--px-pull:1">likelier with the persona'
        '</span><span class="px-against" style="--px-pull:1">less likely with it</span></p>'
        f'<div class="px-text px-tokens" dir="auto">{spans}</div>{_strongest(pulled)}'
    )


def _meaning(total: float, persona_title: str, whose: str) -> str:
    times = math.exp(min(abs(total), 690.0))
    factor = f"{times:,.1f}" if times < 1e4 else f"10^{abs(total) / math.log(10):.0f}"
    way = "likelier" if total >= 0 else "less likely"
    return (
        f"told to be “{escape(persona_title)}”, the model finds {escape(whose)} "
        f"{factor} times {way} than without."
    )


def _token(text: str, pull: float) -> str:
    strength = min(1.0, abs(pull) / _STRONG)
    shown = escape(text).replace("\n", "↵\n")
    if strength < 0.05:
        return f'<span title="{pull:+.2f} nats">{shown}</span>'
    way = "for" if pull > 0 else "against"
    return (
        f'<span class="px-{way}" style="--px-pull:{strength:.2f}" title="{pull:+.2f} nats">'
        f"{shown}</span>"
    )


def _strongest(pulled: LogprobShift) -> str:
    rows = "".join(
        f'<tr><td><code dir="auto">{_visible(token)}</code></td>'
        f'<td class="px-num">{pull:+.2f}</td>'
        f'<td class="px-num">{_factor(pull)}</td></tr>'
        for token, pull in largest_shifts(pulled)
    )
    return (
        '<table class="px-table"><caption>Strongest tokens</caption><thead><tr>'
        '<th scope="col">Token</th><th scope="col" class="px-num">Pull (nats)</th>'
        '<th scope="col" class="px-num">Probability</th></tr></thead>'
        f"<tbody>{rows}</tbody></table>"
    )


def _factor(pull: float) -> str:
    times = f"{math.exp(min(abs(pull), 690.0)):,.1f}"
    return f"{times} times" if pull >= 0 else f"1/{times}"


def _visible(token: str) -> str:
    return escape(token.replace("\n", "↵").replace(" ", "␣")) or "∅"


def verdict_panel(verdict: Verdict, model_name: str, challenger: str) -> str:
    """Show the judge's probability in each order, the verdict, and what to make of it."""
    winner = {"persona": f"{challenger} wins", "neutral": "Neutral wins", "tie": "A tie"}[
        verdict.winner
    ]
    agree, tone = "Both orders agree.", "px-agree"
    if not verdict.is_consistent:
        place = "first" if verdict.persona_first > 0.5 else "second"
        agree = (
            f"The orders disagree: it chose whichever answer was shown {place}, "
            "so this says nothing about quality."
        )
        tone = "px-disagree"
    return (
        f'<div class="px-verdict"><p class="px-opinion">The opinion of {escape(model_name)} about '
        "its own answers, not a fact. Small models judge poorly.</p>"
        f'<p class="px-winner">{escape(winner)}</p>'
        f'<p class="{tone}">{agree}</p>'
        f"{_order(challenger + ' shown first', verdict.persona_first, challenger)}"
        f"{_order(challenger + ' shown second', verdict.persona_second, challenger)}</div>"
    )


def _order(label: str, probability: float, challenger: str) -> str:
    return (
        f'<div class="px-order"><span>{escape(label)}</span>'
        f'<div class="px-bar" role="img" aria-label="{probability:.0%} for {escape(challenger)}">'
        f'<i style="width:{probability * 100:.1f}%"></i></div>'
        f"<b>{probability:.1%}</b><small>P({escape(challenger)} is better)</small></div>"
    )
