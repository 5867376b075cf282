"""The command line, as a person or a script runs it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator
from support.paths import ROOT
from support.strict_service import Rules, strict_service

from prism_core.cli import compare as compare_command
from prism_core.cli.main import COMMANDS, build_parser, main
from prism_core.cli.output import printable
from prism_core.errors import CancelledError, RemoteError
from prism_core.models.local import LocalModel
from prism_core.prism.spec import PRESETS
from prism_core.rl.spec import RL_PRESETS
from prism_core.storage import Store, pack


def test_compare_prints_one_json_object(capfd: pytest.CaptureFixture[str]) -> None:
    command = ["compare", "--question", "What is the capital of France?", "--persona", "math"]
    command += ["--length", "long", "--placement", "system", "--max-new-tokens", "12"]
    command += ["--seed", "0", "--json", "--arms", "neutral,persona,verify,prism"]
    assert main(command) == 0
    out, err = capfd.readouterr()
    assert err == ""
    [line] = out.splitlines()
    result = json.loads(line)
    assert result["model"] == "SmolLM2-135M-Instruct"
    assert [a["arm"] for a in result["arms"]] == ["neutral", "persona", "verify", "prism"]
    neutral, persona, verify, prism = result["arms"]
    assert "Paris" in neutral["text"]
    assert 0 < neutral["tokens"] <= 12
    assert neutral["seconds"] > 0
    assert persona["prompt_tokens"] > neutral["prompt_tokens"] + 100, "a long persona"
    assert verify["draft"] == persona["text"]
    assert prism["text"] is None
    assert "adapter" in prism["note"]


def test_the_same_seed_gives_the_same_text(
    tiny: LocalModel, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(compare_command, "open_model", lambda _: tiny)
    texts = []
    for seed in ("1", "1", "2"):
        base = ["compare", "--question", "Why?", "--temperature", "1.0", "--max-new-tokens", "8"]
        assert main([*base, "--seed", seed, "--json"]) == 0
        texts.append([a["text"] for a in json.loads(capsys.readouterr().out)["arms"]])
    assert texts[0] == texts[1]
    assert texts[0] != texts[2]


def test_compare_as_text(
    tiny: LocalModel, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(compare_command, "open_model", lambda _: tiny)
    arms = "neutral,verify,prism"
    assert main(["compare", "--question", "Why?", "--max-new-tokens", "3", "--arms", arms]) == 0
    out = capsys.readouterr().out
    for part in ("== Neutral ==", "Draft:", "Verified:", "3 tokens in", "Train an adapter first"):
        assert part in out


def test_what_libraries_print_stays_out_of_stdout(
    tiny: LocalModel, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def noisy(_: str) -> LocalModel:
        print("Loading weights: 100%")
        return tiny

    monkeypatch.setattr(compare_command, "open_model", noisy)
    assert main(["compare", "--question", "Why?", "--max-new-tokens", "2", "--json"]) == 0
    captured = capsys.readouterr()
    json.loads(captured.out)
    assert "Loading weights" in captured.err


BAD = [
    ([], "COMMAND"),
    (["fly"], "'fly'"),
    (["compare"], "--question"),
    (["compare", "--question", "  "], "empty"),
    (["compare", "--question", "x" * 9000], "9,000"),
    (["compare", "--question", "Why?", "--persona", "nobody"], "'nobody'"),
    (["compare", "--question", "Why?", "--control", "nothing"], "'nothing'"),
    (["compare", "--question", "Why?", "--length", "huge"], "'huge'"),
    (["compare", "--question", "Why?", "--placement", "left"], "'left'"),
    (["compare", "--question", "Why?", "--seed", "-1"], "'-1'"),
    (["compare", "--question", "Why?", "--seed", "9" * 40], "whole number"),
    (["compare", "--question", "Why?", "--max-new-tokens", "0"], "'0'"),
    (["compare", "--question", "Why?", "--max-new-tokens", "1e3"], "'1e3'"),
    (["compare", "--question", "Why?", "--temperature", "nan"], "'nan'"),
    (["compare", "--question", "Why?", "--top-p", "0"], "'0'"),
    (["compare", "--question", "Why?", "--arms", "neutral,other"], "'other'"),
    (["compare", "--question", "Why?", "--arms", "neutral,neutral"], "twice"),
    (["compare", "--question", "Why?", "--arms", ","], "No arm"),
    (["compare", "--question", "Why?", "--model", "/nowhere"], "/nowhere"),
    (["compare", "--question", "Why?", "--persona", "line\nbreak"], "'line break'"),
    (["compare", "--question", "Why?", "--model", "remote:m"], "PRISM_REMOTE_URL"),
    (["compare", "--question", "Why?", "--quest", "x"], "--quest"),
    (["compare", "--question", "Why?", "--adapter", "x"], "'prism'"),
    (["compare", "--question", "Why?", "--adapter", "nope", "--arms", "prism"], "'nope'"),
    (["personas", "extra"], "extra"),
]


@pytest.mark.parametrize(("arguments", "quoted"), BAD)
def test_bad_input_is_one_clear_line_and_status_2(
    arguments: list[str],
    quoted: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("PRISM_REMOTE_URL", raising=False)
    try:
        status = main(arguments)
    except SystemExit as stop:  # argparse exits by itself
        status = stop.code  # type: ignore[assignment]
    captured = capsys.readouterr()
    assert status == 2
    assert captured.out == ""
    [line] = captured.err.splitlines()
    assert line.startswith("prism: ")
    assert quoted in line


@pytest.mark.parametrize(
    ("error", "status"),
    [(KeyboardInterrupt(), 130), (CancelledError("enough"), 130), (RemoteError("gone"), 1)],
)
def test_how_work_can_end(
    error: BaseException,
    status: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(_: str) -> LocalModel:
        raise error

    monkeypatch.setattr(compare_command, "open_model", fail)
    assert main(["compare", "--question", "Why?"]) == status
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_personas_and_models(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["personas", "--json"]) == 0
    personas = json.loads(capsys.readouterr().out)["personas"]
    assert len(personas) == 15
    assert {p["kind"] for p in personas} == {"expert", "behaviour", "control"}
    assert all(set(p["texts"]) == {"min", "short", "long"} for p in personas)
    assert main(["personas"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 15
    assert main(["models", "--json"]) == 0
    first = json.loads(capsys.readouterr().out)["models"][0]
    assert first["reference"] == "embedded"
    assert isinstance(first["ready"], bool)
    assert main(["models"]) == 0
    assert "embedded" in capsys.readouterr().out


def test_models_of_an_endpoint_are_listed_and_probed(capsys, monkeypatch, tmp_path):
    with strict_service(Rules(key="sk-secret-1234", tops=20)) as service:
        file = tmp_path / "endpoints.yaml"
        file.write_text(f"mock: {{base_url: '{service.url}', key_variable: MOCK_KEY}}")
        monkeypatch.setenv("PRISM_ENDPOINTS", str(file))
        monkeypatch.setenv("MOCK_KEY", "sk-secret-1234")
        assert main(["models", "--endpoint", "mock"]) == 0
        assert capsys.readouterr().out.splitlines() == ["mock:another", "mock:m"]
        assert main(["models", "--endpoint", "mock", "--probe", "m", "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert found["top_logprobs"] == 20 and "m at mock answers" in found["sentence"]
        assert main(["models"]) == 0
        assert "mock:MODEL" in capsys.readouterr().out
        monkeypatch.setenv("MOCK_KEY", "sk-wrong-5678")
        assert main(["models", "--endpoint", "mock"]) != 0
        said = capsys.readouterr().err
    assert "refused the key. Check MOCK_KEY" in said and "sk-wrong" not in said
    assert main(["models", "--endpoint", "nowhere"]) != 0
    assert "there are openai, anthropic" in capsys.readouterr().err
    assert main(["models", "--probe", "m"]) != 0
    assert "needs --endpoint NAME" in capsys.readouterr().err


def test_every_command_has_help(capsys: pytest.CaptureFixture[str]) -> None:
    for command in COMMANDS:
        name = command.__name__.rsplit(".", 1)[-1]
        with pytest.raises(SystemExit) as stop:
            build_parser().parse_args([name, "--help"])
        assert stop.value.code == 0
        assert f"prism {name}" in capsys.readouterr().out


def test_the_schemas_take_what_we_write_and_refuse_the_rest(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = {}
    for name in ("study", "train", "rl"):
        assert main(["schema", name]) == 0
        found[name] = json.loads(capsys.readouterr().out)
        Draft202012Validator.check_schema(found[name])
    study = Draft202012Validator(found["study"])
    shipped = yaml.safe_load((ROOT / "assets/studies/embedded.yaml").read_text(encoding="utf-8"))
    assert study.is_valid(shipped) and shipped["tasks"][0]["name"]
    for wrong in ({"max_new_tokens": 4_097}, {"lengths": ["huge"]}, {"model": "embedded"}):
        assert not study.is_valid(shipped | wrong)
    for name, spec in (("train", PRESETS["quick"]), ("rl", RL_PRESETS["full"])):
        schema = Draft202012Validator(found[name])
        assert schema.is_valid(pack(spec)) and not schema.is_valid(pack(spec) | {"rank": 129})
    assert found["rl"]["properties"]["rank"]["maximum"] == 128


def test_printable_drops_what_could_steer_a_terminal() -> None:
    assert printable("a\x1b[31mb\tc\nd\x07\x9b\udc80é") == "a[31mb\tc\ndé"


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "prism_core", *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
    )


def test_as_a_process_with_an_ascii_terminal() -> None:
    done = run("personas", "--json", LC_ALL="C", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    json.loads(done.stdout)
    bad = run("compare", "--question", "Why?", "--persona", "nobödy")
    assert bad.returncode == 2
    assert "Traceback" not in bad.stderr
    assert len(bad.stderr.splitlines()) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="signals work differently there")
def test_ctrl_c_ends_with_130_and_no_traceback() -> None:
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "prism_core",
            "compare",
            "--question",
            "Tell a long story.",
            "--max-new-tokens",
            "4000",
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A background shell starts its children with SIGINT ignored; a terminal does not.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    time.sleep(4)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out == ""
    assert "Traceback" not in err


def test_the_store_is_backed_up_checked_and_pruned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("PRISM_DATABASE_URL", raising=False)
    home, copy = ["--home", str(tmp_path / "home")], str(tmp_path / "copy")
    assert main(["store", "check", *home]) == 2  # looking makes none
    assert "no prism.sqlite3" in capsys.readouterr().err and not (tmp_path / "home").exists()
    with Store(home=tmp_path / "home") as store:
        store.finish(store.create_run("study", "Mine", {}).id, "done")
    assert main(["store", "check", *home, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report == {"runs": 1, "records": 0, "answers": 0, "problems": [], "leftovers": 0}
    assert main(["store", "backup", copy, *home]) == 0
    assert main(["store", "backup", copy, *home]) == 2  # never over another one
    assert main(["store", "prune", *home, "--runs-older", "0"]) == 0
    assert "Removed 1 runs" in capsys.readouterr().out
    assert main(["store", "prune", *home, "--runs-older", "-1"]) == 2
    assert main(["store", "check", "--home", copy, "--json"]) == 0
    capsys.readouterr()
    with Store(home=tmp_path / "copy") as store, store.database.write() as connection:
        connection.exec_driver_sql("UPDATE runs SET spec = '{'")
    assert main(["store", "check", "--home", copy]) == 1
    assert "cannot be read" in capsys.readouterr().out
