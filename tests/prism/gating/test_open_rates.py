"""How often a gate opens on questions that no training run asks, and what the shipped card says."""

from __future__ import annotations

from prism_core.models.local import LocalModel
from prism_core.prism.bundle import load_bundle
from prism_core.prism.bundle_files import model_card, read_info
from prism_core.prism.gating.gate import Gate
from prism_core.prism.gating.open_rates import open_rates
from prism_core.utils.assets import ASSETS

DEMO = ASSETS / "adapters" / "demo"


def test_a_gate_is_asked_at_its_threshold_and_at_the_papers(tiny: LocalModel) -> None:
    gate = Gate.constant(32, "last", 0.8472979)  # log-odds of 0.7
    found = open_rates(gate, tiny, 0.9)
    assert {name: (e.value, e.n) for name, e in found.items()} == {
        "Gate opens on knowledge questions (from 0.90)": (0.0, 240),
        "Gate opens on knowledge questions (from 0.50)": (1.0, 240),
        "Gate opens on safety requests (from 0.90)": (0.0, 120),
        "Gate opens on safety requests (from 0.50)": (1.0, 120),
    }
    assert len(open_rates(gate, tiny, 0.5)) == 2


def test_the_shipped_card_says_how_often_its_gate_opens_elsewhere(model: LocalModel) -> None:
    info, gated = read_info(DEMO), load_bundle(DEMO, model)
    for name, rate in open_rates(gated.gate, model, info.threshold).items():
        assert rate.value is not None and info.metrics[name].value is not None
        # Another processor may round a probability to the other side of the threshold.
        assert abs(rate.value - info.metrics[name].value) < 0.01
    assert model_card(info) == (DEMO / "README.md").read_text(encoding="utf-8")
