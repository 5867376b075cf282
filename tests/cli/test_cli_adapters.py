"""The commands with a trained adapter: route, ablate and the PRISM arm of compare."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from support.gated_parts import CHEF, POET, TEXTS, judged_pairs, tiny_gated
from support.paths import ROOT

from prism_core.cli import adapter as adapter_command
from prism_core.cli import compare as compare_command
from prism_core.cli.main import main
from prism_core.errors import NotFoundError
from prism_core.models.local import LocalModel
from prism_core.personas.library import dump_persona
from prism_core.personas.prompts import build_prompt
from prism_core.prism.bundle import identify, load_bundle
from prism_core.prism.bundle_files import INFO_FILE, read_info, write_info
from prism_core.prism.demo import demo_persona, demo_queries
from prism_core.prism.gating.report import GateConfig
from prism_core.prism.gating.training import train_gate
from prism_core.prism.past_run import bundle_folder, read_run, run_home
from prism_core.prism.pipeline import TrainResult
from prism_core.prism.spec import PRESETS, TrainSpec
from prism_core.progress import Progress
from prism_core.storage import Store, pack
from prism_core.storage.folder_store import STORE_FILE
from prism_core.storage.journal import MemoryJournal, StoreJournal, SuffixJournal
from prism_core.types import PromptVariant, Verdict


@pytest.fixture
def bundle(tiny: LocalModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tiny adapter whose gate opens for two of `TEXTS`; every reference opens the tiny model."""
    for module in (adapter_command, compare_command):
        monkeypatch.setattr(module, "open_model", lambda _: tiny)
    folder = tmp_path / "tiny adapter"
    tiny_gated(tiny, folder)
    return folder


def ask(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(text))


def probabilities(bundle: Path, tiny: LocalModel) -> list[float]:
    model = load_bundle(bundle, tiny)
    return [model.probabilities([build_prompt(t, PromptVariant())])[0] for t in TEXTS]


# ---- route


def test_route_answers_each_line_in_order(
    bundle: Path,
    tiny: LocalModel,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    ask(monkeypatch, "\n".join(f"  {text}\n   " for text in TEXTS))  # blank lines between
    assert main(["route", "--adapter", str(bundle), "--json"]) == 0
    captured = capsys.readouterr()
    rows = [json.loads(line) for line in captured.out.splitlines()]
    assert [list(row) for row in rows] == [["question", "probability", "open"]] * 6
    assert [row["question"] for row in rows] == list(TEXTS)
    assert [row["probability"] for row in rows] == pytest.approx(probabilities(bundle, tiny))
    threshold = read_info(bundle).threshold
    assert [row["open"] for row in rows] == [row["probability"] >= threshold for row in rows]
    assert sum(row["open"] for row in rows) == 2


def test_route_takes_another_threshold_and_prints_text(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ask(monkeypatch, "Why?\nWrite \x1b[31mred.\n")
    assert main(["route", "--adapter", str(bundle), "--threshold", "0"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert " open " in first
    assert first.endswith("Why?")
    assert "\x1b" not in second


def test_route_without_questions_prints_nothing(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ask(monkeypatch, "\n \n\n")
    assert main(["route", "--adapter", str(bundle), "--json"]) == 0
    assert capsys.readouterr() == ("", "")


def test_route_quotes_the_line_that_is_wrong(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ask(monkeypatch, "Why?\n\n" + "x" * 9000 + "\n")
    assert main(["route", "--adapter", str(bundle), "--json"]) == 2
    captured = capsys.readouterr()
    assert len(captured.out.splitlines()) == 1, "what came before was answered"
    [line] = captured.err.splitlines()
    assert "Line 3" in line
    assert "9,000" in line


# ---- folders that are wrong


def say(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main([*arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    [line] = captured.err.splitlines()
    assert line.startswith("prism: ")
    return line


@pytest.mark.parametrize("command", ["route", "ablate"])
def test_a_folder_that_is_no_adapter_is_one_clear_line(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "'nowhere' is no PRISM adapter" in say(capsys, command, "--adapter", "nowhere")
    (tmp_path / INFO_FILE).write_text("{broken")
    assert f"{INFO_FILE} of" in say(capsys, command, "--adapter", str(tmp_path))
    (tmp_path / INFO_FILE).unlink()
    (tmp_path / STORE_FILE).touch()
    assert "is not finished" in say(capsys, command, "--adapter", str(tmp_path))


@pytest.mark.parametrize("command", ["route", "ablate"])
def test_a_wrong_base_is_one_clear_line(
    command: str,
    bundle: Path,
    model: LocalModel,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    info = read_info(bundle)
    write_info(bundle, replace(info, settings=pack(PRESETS["demo"])))
    monkeypatch.setattr(adapter_command, "open_model", lambda _: model)
    line = say(capsys, command, "--adapter", str(bundle))
    assert "trained for tiny-llama" in line
    assert "SmolLM2" in line


def test_a_damaged_file_is_one_clear_line(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (bundle / "gate.safetensors").write_bytes(b"no")
    assert "gate.safetensors" in say(capsys, "route", "--adapter", str(bundle))
    (bundle / "adapter_model.safetensors").unlink()
    assert "adapter_model" in say(capsys, "route", "--adapter", str(bundle))


def test_an_adapter_needs_a_model_on_this_machine(
    bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = say(capsys, "route", "--adapter", str(bundle), "--model", "remote:gpt")
    assert "'remote:gpt'" in line


def test_where_a_bundle_and_its_run_are_found(bundle: Path, tmp_path: Path) -> None:
    assert bundle_folder(bundle) == bundle
    assert run_home(bundle) is None
    home = tmp_path / "run"
    shutil.copytree(bundle, home / "adapter")
    (home / STORE_FILE).touch()
    assert bundle_folder(home) == home / "adapter"
    assert run_home(home) == run_home(home / "adapter") == home


# ---- compare


def test_compare_with_an_adapter_shows_the_gate(
    bundle: Path, tiny: LocalModel, capsys: pytest.CaptureFixture[str]
) -> None:
    found = probabilities(bundle, tiny)
    best = max(range(6), key=found.__getitem__)
    command = ["compare", "--adapter", str(bundle), "--arms", "neutral,persona,prism", "--json"]
    assert main([*command, "--question", TEXTS[best], "--max-new-tokens", "4"]) == 0
    result = json.loads(capsys.readouterr().out)
    neutral, persona, prism = result["arms"]
    assert prism["gate"]["open"] is True
    assert prism["gate"]["probability"] == pytest.approx(found[best], abs=1e-5)
    assert prism["text"] is not None
    assert "gate" not in neutral
    assert "gate" not in persona
    worst = min(range(6), key=found.__getitem__)
    assert main([*command, "--question", TEXTS[worst], "--max-new-tokens", "4"]) == 0
    neutral, _, prism = json.loads(capsys.readouterr().out)["arms"]
    assert prism["gate"]["open"] is False
    assert prism["text"] == neutral["text"], "a closed gate is the base"


# ---- ablate


def test_a_bundle_without_its_run_says_what_is_missing(
    bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = say(capsys, "ablate", "--adapter", str(bundle))
    assert "does not hold the queries" in line
    assert "train --out" in line
    write_info(bundle, replace(read_info(bundle), settings=pack(PRESETS["demo"])))
    assert "held out" in say(capsys, "ablate", "--adapter", str(bundle))


def test_a_demo_bundle_alone_is_examined_on_its_held_out_queries(
    bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = replace(PRESETS["demo"], answer_tokens=8)
    chosen = [q for side in (True, False) for q in demo_queries() if q.wanted is side][:2]
    chosen += [q for q in demo_queries() if q.wanted is False][:3]
    info = replace(
        read_info(bundle),
        settings=pack(spec),
        held_out=tuple(q.id for q in chosen),
        personas=(demo_persona().name,),
    )
    write_info(bundle, info)
    assert main(["ablate", "--adapter", str(bundle), "--json"]) == 0
    [line] = capsys.readouterr().out.splitlines()
    table = json.loads(line)
    assert (table["adapter"], table["queries"], table["wanted"]) == ("Tiny", 5, 2)
    rows = {row["system"]: row for row in table["rows"]}
    assert list(rows) == [
        "base",
        "persona_prompt",
        "kl_lora",
        "prism",
        "random_gate",
        "oracle_gate",
    ]
    assert {row["system"] for row in table["missing"]} == {"chosen_persona", "sft"}
    assert rows["persona_prompt"]["cells"]["kl"]["estimate"]["value"] == 0.0
    cell = rows["prism"]["cells"]["behaviour_wanted"]
    assert cell["estimate"]["n"] == 2
    assert cell["change"]["n"] == 2
    keys = {column["key"] for column in table["columns"]}
    assert {"win_rate", "kl", "routed", "prompt_tokens", "seconds", "unchanged_unwanted"} <= keys
    assert main(["ablate", "--adapter", str(bundle)]) == 0
    text = capsys.readouterr().out
    for part in ("== PRISM ==", "Win rate against base", "against base", "Ungated SFT LoRA: "):
        assert part in text


def past_run(bundle: Path, tiny: LocalModel, home: Path, rounds: int = 1) -> TrainSpec:
    """The folder of a run that made `bundle`, as `train --out` leaves it behind."""
    spec = TrainSpec(
        preset="custom",
        personas=(),
        own_personas=(dump_persona(POET), dump_persona(CHEF)),
        answer_tokens=8,
        rank=2,
        epochs=1,
        max_tokens=256,
        rounds=rounds,
    )
    shutil.copytree(bundle, home / "adapter")
    with Store(f"sqlite:///{home / STORE_FILE}", home=home) as store:
        row = store.create_run("train", spec.name, pack(spec), folder=home)
        journal = StoreJournal(store, row.id)
        judged = judged_pairs()
        journal.save("query_set", {j.pair.query.id: pack(j.pair.query) for j in judged})
        for number in range(1, rounds + 1):
            part = journal if number == 1 else SuffixJournal(journal, f"@{number}")
            part.save("answers", {"#settings": "abc"})
            part.save("answers", {j.pair.query.id: pack(j.pair) for j in judged})
            # In a later round no persona wins any more.
            verdicts = [j.verdict if number == 1 else Verdict("tie", 0.9, 0.1) for j in judged]
            part.save(
                "verification",
                {j.pair.query.id: pack(v) for j, v in zip(judged, verdicts, strict=True)},
            )
            train_gate(GateConfig(held_out_share=0.34), judged, tiny, part, Progress())
        journal.save("result", {"result": pack(TrainResult(True, 1.0, ()))})
    return spec


def journal_of(home: Path) -> tuple[Store, StoreJournal]:
    store = Store(f"sqlite:///{home / STORE_FILE}", home=home)
    return store, StoreJournal(store, store.list_runs(kind="train")[0].id)


@pytest.mark.parametrize("rounds", [1, 2])
def test_a_run_is_read_back_from_its_store(
    bundle: Path, tiny: LocalModel, tmp_path: Path, rounds: int
) -> None:
    spec = past_run(bundle, tiny, tmp_path / "run", rounds)
    store, journal = journal_of(tmp_path / "run")
    with store:
        past = read_run(spec, journal)
    assert list(past.judged) == judged_pairs(), "a win of the first round stays a win"
    assert 1 <= len(past.held_out) < 6
    assert past.held_out < {j.pair.query.id for j in past.judged}


def test_a_run_without_an_end_or_an_adapter_is_refused() -> None:
    journal = MemoryJournal()
    with pytest.raises(NotFoundError, match="not finished"):
        read_run(TrainSpec(), journal)
    journal.save("result", {"result": pack(TrainResult(False, 1.0, ("Nobody won.",)))})
    with pytest.raises(NotFoundError, match=r"no adapter\. Nobody won\."):
        read_run(TrainSpec(), journal)


def test_ablate_trains_the_ungated_loras_and_goes_on_where_it_was(
    bundle: Path,
    tiny: LocalModel,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    home = tmp_path / "run"
    past_run(bundle, tiny, home)
    assert main(["ablate", "--adapter", str(home / "adapter"), "--json", "--no-training"]) == 0
    few = json.loads(capsys.readouterr().out)
    assert [row["system"] for row in few["missing"]] == ["sft"]
    assert main(["ablate", "--adapter", str(home), "--json"]) == 0
    whole = json.loads(capsys.readouterr().out)
    assert whole["missing"] == []
    rows = {row["system"]: row for row in whole["rows"]}
    assert list(rows) == [
        "base",
        "persona_prompt",
        "chosen_persona",
        "sft",
        "kl_lora",
        "prism",
        "random_gate",
        "oracle_gate",
    ]
    assert rows["kl_lora"]["note"] == "", "trained for itself, no longer PRISM's own"
    for name in ("base", "persona_prompt", "prism"):
        before = next(row for row in few["rows"] if row["system"] == name)
        assert rows[name] == before, "what was measured before is not measured again"
    assert (home / "sft" / "adapter_model.safetensors").is_file()
    ask = ["compare", "--adapter", str(home), "--arms", "prism", "--question", "Why?", "--json"]
    assert main([*ask, "--max-new-tokens", "2"]) == 0, "a run's folder stands for its adapter"
    assert "gate" in json.loads(capsys.readouterr().out)["arms"][0]
    monkeypatch.setattr(LocalModel, "generate", None)  # nobody may answer any more
    assert main(["ablate", "--adapter", str(home), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == whole


# ---- as a process, on the real model


def test_route_as_a_process(model: LocalModel, tmp_path: Path) -> None:
    tiny_gated(model, tmp_path)
    write_info(tmp_path, replace(read_info(tmp_path), base=identify(model)))
    done = subprocess.run(
        [sys.executable, "-m", "prism_core", "route", "--adapter", str(tmp_path), "--json"],
        cwd=ROOT,
        input="Tell me of the sea.\n\nPourquoi le ciel est-il bleu\u202f?\n",
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")
    first, second = (json.loads(line) for line in done.stdout.splitlines())
    assert first["question"] == "Tell me of the sea."
    assert "ciel" in second["question"]
    assert 0 <= first["probability"] <= 1
    assert isinstance(first["open"], bool)
