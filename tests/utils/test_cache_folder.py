"""Prepared folders: whole or not there, checked, built once, built again when damaged."""

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from prism_core.errors import CancelledError, StorageError
from prism_core.progress import Progress
from prism_core.utils.cache_folder import MANIFEST, SMALL_FILE, cache_dir, damage, prepared

LARGE = SMALL_FILE + 4096  # bytes: just past what is hashed at every look


def build(folder):
    (folder / "weights.bin").write_bytes(bytes(range(256)) * (LARGE // 256))
    (folder / "config.json").write_text('{"layers": 2}')
    (folder / "sub").mkdir()
    (folder / "sub" / "vocab.txt").write_text("a\nb\n")


def refuse(folder):
    raise AssertionError("built although the folder was whole")


def flip(path, offset):
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)


@pytest.fixture
def whole(tmp_path):
    return prepared(tmp_path / "models" / "m", build)


def test_a_whole_folder_is_used_as_it_is(whole):
    assert damage(whole, full=True) is None
    assert prepared(whole, refuse) == whole
    assert [p.name for p in whole.parent.iterdir() if p.is_dir()] == ["m"]


def test_the_manifest_lists_every_file(whole):
    names = [record["name"] for record in json.loads((whole / MANIFEST).read_text())["files"]]
    assert names == ["config.json", "sub/vocab.txt", "weights.bin"]


@pytest.mark.parametrize(
    ("hurt", "said"),
    [
        (lambda f: os.truncate(f / "weights.bin", 1000), f"has 1000 bytes instead of {LARGE}"),
        (lambda f: flip(f / "weights.bin", LARGE // 2), "weights.bin does not have the content"),
        (lambda f: flip(f / "config.json", 3), "config.json does not have the content"),
        (lambda f: (f / "sub" / "vocab.txt").unlink(), "vocab.txt"),
        (lambda f: (f / MANIFEST).write_text("{"), "manifest.json cannot be read"),
        (lambda f: (f / MANIFEST).unlink(), "manifest.json cannot be read"),
        (lambda f: (f / MANIFEST).write_text('{"format": 99, "files": []}'), "has format 99"),
    ],
)
def test_damage_is_noticed_said_and_repaired(whole, caplog, hurt, said):
    hurt(whole)
    notes = []
    with caplog.at_level(logging.WARNING):
        prepared(whole, build, progress=Progress(lambda report: notes.append(report.note)))
    assert said in caplog.text
    assert any("damaged" in note and said in note for note in notes)
    assert damage(whole, full=True) is None
    assert (whole / "weights.bin").stat().st_size == LARGE


def test_the_quick_look_leaves_large_contents_to_the_full_one(whole):
    flip(whole / "weights.bin", 5)
    assert damage(whole) is None
    assert "weights.bin" in damage(whole, full=True)


def test_a_build_that_fails_leaves_nothing(tmp_path):
    def fail(folder):
        (folder / "half").write_text("x")
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        prepared(tmp_path / "m", fail)
    assert [p for p in tmp_path.iterdir() if p.is_dir()] == []


SLOW_BUILD = """
import sys, time
from pathlib import Path
from prism_core.utils.cache_folder import prepared

def build(folder):
    for i in range(10):
        (folder / f"part{i}").write_bytes(bytes([i]) * 1000)
        with open(sys.argv[2], "a") as log:
            log.write(f"{i}\\n")
        time.sleep(0.02)

prepared(Path(sys.argv[1]), build)
"""


def start(folder, log):
    return subprocess.Popen([sys.executable, "-c", SLOW_BUILD, str(folder), str(log)])


@pytest.mark.parametrize("steps", [1, 5, 10])
def test_a_kill_in_the_middle_leaves_nothing_half_made(tmp_path, steps):
    folder, log = tmp_path / "cache" / "m", tmp_path / "log"
    process = start(folder, log)
    until = time.monotonic() + 20
    while not (log.exists() and len(log.read_text().split()) >= steps):
        assert time.monotonic() < until
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not folder.exists() or damage(folder, full=True) is None
    assert start(folder, log).wait(timeout=20) == 0  # the next start makes it whole
    assert damage(folder, full=True) is None
    assert len([p for p in folder.iterdir() if p.name.startswith("part")]) == 10
    assert [p.name for p in folder.parent.iterdir() if p.is_dir()] == ["m"]  # and sweeps up


def test_two_starts_at_once_build_once(tmp_path):
    folder, log = tmp_path / "cache" / "m", tmp_path / "log"
    first, second = start(folder, log), start(folder, log)
    assert (first.wait(timeout=30), second.wait(timeout=30)) == (0, 0)
    assert log.read_text().split() == [str(i) for i in range(10)]  # ten parts, not twenty


def test_waiting_for_another_process_can_be_stopped(tmp_path):
    inside, leave = threading.Event(), threading.Event()

    def slow(folder):
        inside.set()
        leave.wait(20)
        (folder / "x").write_text("x")

    builder = threading.Thread(target=prepared, args=(tmp_path / "m", slow))
    builder.start()
    assert inside.wait(10)
    progress = Progress()
    progress.cancel.set()
    with pytest.raises(CancelledError):
        prepared(tmp_path / "m", refuse, progress=progress)
    leave.set()
    builder.join()
    assert damage(tmp_path / "m", full=True) is None


def test_a_place_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match=r"cannot write the cache at .*file.*PRISM_CACHE_DIR"):
        prepared(tmp_path / "file" / "m", build)


def test_cache_dir_follows_the_setting_and_the_platform(monkeypatch, tmp_path):
    monkeypatch.setenv("PRISM_CACHE_DIR", str(tmp_path / "here"))
    assert cache_dir() == tmp_path / "here"
    monkeypatch.delenv("PRISM_CACHE_DIR")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_dir() == tmp_path / "xdg" / "prism-studio"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_dir().parts[-2:] == (".cache", "prism-studio")
