"""A trained PRISM adapter as a folder of files that can be kept, moved and published.

It is a standard PEFT folder (`adapter_config.json`, `adapter_model.safetensors`) with the gate
(`gate.safetensors`), `prism.json` (base model, settings, metrics) and a model card. An adapter that
was trained by reinforcement has no gate: it is always on. No model is needed to read all this; see
`prism_core.prism.bundle` for putting an adapter on its base.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from prism_core.errors import InputError, ModelError, NotFoundError, PrismError
from prism_core.lora.files import CONFIG_FILE, WEIGHTS_FILE
from prism_core.models.embedded import HUB_ID
from prism_core.models.sources import EMBEDDED
from prism_core.prism.gating.settings import GATE_FILE, PAPER_THRESHOLD
from prism_core.storage import loads, pack, unpack
from prism_core.types import Estimate

ADAPTER_FOLDER = "adapter"
"""The bundle's folder inside a run's folder."""
INFO_FILE = "prism.json"
CARD_FILE = "README.md"
FILES = (CONFIG_FILE, WEIGHTS_FILE, GATE_FILE, INFO_FILE, CARD_FILE)
"""The files of a bundle; nothing else is packed or published."""
FORMAT = 1
Recipe = Literal["prism", "rl"]


@dataclass(frozen=True)
class BaseIdentity:
    """The model that an adapter was trained for."""

    reference: str
    """How to load it: `embedded`, a Hub id, or a name that only its owner can resolve."""
    label: str
    revision: str
    """Fingerprint of the weights."""
    shape: tuple[int, ...]
    """Layers, hidden size, vocabulary."""
    probe: tuple[float, ...]


@dataclass(frozen=True)
class BundleInfo:
    """What `prism.json` says of an adapter."""

    name: str
    base: BaseIdentity
    threshold: float = PAPER_THRESHOLD
    personas: tuple[str, ...] = ()
    command: str = ""
    seed: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Estimate] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    held_out: tuple[str, ...] = ()
    """Ids of the queries that neither gate nor adapter has seen."""
    format: int = FORMAT
    recipe: Recipe = "prism"
    """How it was made; one made by reinforcement learning has no gate."""


def write_info(folder: Path, info: BundleInfo) -> None:
    """Write `prism.json` and the model card."""
    text = json.dumps(pack(info), indent=2, ensure_ascii=False, allow_nan=False)
    (folder / INFO_FILE).write_text(text + "\n", encoding="utf-8")
    (folder / CARD_FILE).write_text(model_card(info), encoding="utf-8")


def read_info(folder: Path) -> BundleInfo:
    """Read `prism.json`.

    Raises:
        NotFoundError: there is none.
        ModelError: it is damaged or of another format.
    """
    path = folder / INFO_FILE
    if not path.is_file():
        raise NotFoundError(f"'{folder.name}' is no PRISM adapter: it has no {INFO_FILE}.")
    try:
        info = unpack(BundleInfo, loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, PrismError) as error:
        raise ModelError(f"{INFO_FILE} of '{folder.name}' cannot be read: {error}") from error
    if info.format != FORMAT:
        raise ModelError(f"{INFO_FILE} has format {info.format}; this version reads {FORMAT}.")
    return info


def rename_bundle(folder: Path, name: str) -> BundleInfo:
    """Give an adapter another name.

    Raises:
        InputError: the name is empty or longer than 80 characters.
    """
    clean = " ".join(name.split())
    if not clean or len(clean) > 80:
        raise InputError(f"The name '{name[:90]}' is not allowed: use 1 to 80 characters.")
    info = replace(read_info(folder), name=clean)
    write_info(folder, info)
    return info


def bundle_hash(folder: Path) -> str:
    """Return a short hash of the weights and the gate, if there is one.

    Raises:
        ModelError: a file is missing or cannot be read.
    """
    digest = hashlib.sha256()
    for name in (CONFIG_FILE, WEIGHTS_FILE, GATE_FILE):
        if name != GATE_FILE or (folder / name).is_file():
            try:
                digest.update((folder / name).read_bytes())
            except OSError as error:
                raise ModelError(f"The adapter's {name} cannot be read: {error}.") from error
    return digest.hexdigest()[:16]


def zip_bundle(folder: Path) -> bytes:
    """Pack the folder's known files as a zip archive."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in FILES:
            if (folder / name).is_file():
                archive.write(folder / name, name)
    return buffer.getvalue()


def push_to_hub(folder: Path, repository: str, token: str, *, private: bool = True) -> str:
    """Upload a bundle to the Hub and return its address; the token is kept nowhere.

    Raises:
        InputError: repository or token is empty.
        ModelError: the Hub refused or did not answer.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    if not repository.strip() or not token.strip():
        raise InputError("Give a repository such as 'your-name/your-adapter' and a write token.")
    api = HfApi(token=token.strip())
    try:
        url = api.create_repo(repository.strip(), private=private, exist_ok=True)
        api.upload_folder(
            folder_path=folder, repo_id=repository.strip(), allow_patterns=list(FILES)
        )
    except HFValidationError as error:
        raise InputError(f"'{repository[:80]}' is not a repository name: {error}") from error
    except (HfHubHTTPError, OSError) as error:
        raise ModelError(f"The Hub refused or did not answer: {type(error).__name__}.") from error
    return str(url)


def model_card(info: BundleInfo) -> str:
    """Write the adapter's README, with the Hub's front matter."""
    base = HUB_ID if info.base.reference == EMBEDDED else info.base.reference
    table = [
        "| measured on questions that training has not seen | value [95 % interval] |",
        "|---|---|",
        *[f"| {name} | {value} |" for name, value in info.metrics.items()],
        "",
    ]
    lines = [
        "---",
        f"base_model: {base}",
        "library_name: peft",
        "tags: [prism, lora, persona]",
        "---",
        f"# {info.name}",
        "",
        _INTRODUCTION[info.recipe].format(base=info.base.label),
        "",
        f"- Personas: {', '.join(info.personas) or 'none'}",
        *([f"- Gate threshold: {info.threshold:g}"] if info.recipe == "prism" else []),
        f"- Seed: {info.seed}",
        f"- Trained with: `{info.command}`" if info.command else "- Trained in the app",
        "",
        *(table if info.metrics else []),
        *[f"- {note}" for note in info.notes],
    ]
    return "\n".join(lines).rstrip() + "\n"


_INTRODUCTION: Mapping[Recipe, str] = {
    "prism": "A gated LoRA for {base}, made by PRISM Studio after Hu, Rostami and Thomason "
    "(arXiv 2603.18507). A small gate reads the hidden state after layer 0 and switches the "
    "adapter per query; no persona prompt is needed.",
    "rl": "A LoRA for {base}, trained by PRISM Studio on verifiable rewards after Oh et al. "
    "(PerMix-RLVR, arXiv 2604.08986). It has no gate and is always on.",
}
