"""How a model is brought into memory.

Whatever its source, it ends as a folder with safetensors and a tokenizer, which is loaded without
running any code of the model's own. The embedded model's files are hashed at every start, in a
thread beside the imports and the tokenizer, so that a damaged cache is noticed and built again at
no cost in time.
"""

from __future__ import annotations

import hashlib
import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prism_core.errors import ModelError
from prism_core.models.chat import PROBE, render
from prism_core.models.config_check import check_config
from prism_core.models.embedded import convert_gguf, embedded_folder, no_progress_bars, refuse_gaps
from prism_core.models.hub import snapshot
from prism_core.models.sources import EMBEDDED, ModelSource, resolve
from prism_core.progress import Progress
from prism_core.types import Message
from prism_core.utils.cache_folder import (
    MANIFEST,
    STAGE,
    cache_dir,
    damage,
    prepared,
    read_manifest,
    sha256_of,
)

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

FALLBACK_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'system' %}{{ message['content'] + '\\n\\n' }}"
    "{% elif message['role'] == 'user' %}{{ 'Question: ' + message['content'] + '\\n' }}"
    "{% else %}{{ 'Answer: ' + message['content'] + '\\n\\n' }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ 'Answer:' }}{% endif %}"
)
"""For models without a chat template: 'Question: ...' and 'Answer:' on lines of their own."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LoadedWeights:
    """A model in memory with its tokenizer."""

    model: PreTrainedModel
    """In eval mode; no parameter asks for a gradient."""
    tokenizer: PreTrainedTokenizerBase
    """Has a pad token and a chat template."""
    source: ModelSource
    fingerprint: str


def choose_device() -> torch.device:
    """Choose the fastest device at hand: CUDA, then Apple's GPU, then the CPU."""
    import torch

    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def choose_dtype(device: torch.device) -> torch.dtype:
    """Choose the number format that is fastest and safe there.

    A CPU gets bf16 only with AMX matrix units: with AVX512-BF16 alone, bf16 was measured slower
    than fp32 (125 against 172 GFLOP/s with 64 rows). MPS gets fp32.
    """
    import torch

    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    if device.type == "cpu" and _has_amx_bf16():
        return torch.bfloat16
    return torch.float32


def _has_amx_bf16() -> bool:
    """Tell whether this CPU multiplies bf16 matrices in hardware (known on Linux alone)."""
    try:
        return "amx_bf16" in Path("/proc/cpuinfo").read_text(encoding="ascii", errors="ignore")
    except OSError:
        return False


def load_weights(
    source: ModelSource,
    *,
    device: torch.device | None = None,
    dtype: torch.dtype | None = None,
    progress: Progress | None = None,
) -> LoadedWeights:
    """Bring a model into memory, fetching or converting it first where needed.

    Raises:
        ModelError: it cannot be fetched, read, or lacks weights.
        StorageError: the cache cannot be written.
        CancelledError: stopped while fetching.
    """
    progress = progress or Progress()
    if source.kind == "embedded":
        folder, tokenizer = _checked_embedded(progress)
        identity = _manifest_identity(folder)
    else:
        folder = _folder_of(source, progress)
        check_config(folder, source.label)
        identity = _files_identity(folder, source)
        tokenizer = _load_tokenizer(folder, source)
    progress.update(STAGE, 1, 2, f"loading {source.label}")
    device = device or choose_device()
    dtype = dtype or choose_dtype(device)
    model: Any = _load_model(folder, source, dtype)  # transformers hides the type of `.to`
    model = model.to(device)
    parts = [identity, str(tokenizer.chat_template), str(dtype)]
    fingerprint = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
    progress.update(STAGE, 2, 2, f"{source.label} is ready")
    return LoadedWeights(model, tokenizer, source, fingerprint)


def _checked_embedded(progress: Progress) -> tuple[Path, PreTrainedTokenizerBase]:
    """Return the embedded model's folder and tokenizer, hashing the weights in the meantime."""
    source = resolve(EMBEDDED)
    folder = embedded_folder(progress, verify=False)
    with ThreadPoolExecutor(1) as pool:
        problem = pool.submit(damage, folder, full=True)
        tokenizer = _load_tokenizer(folder, source)  # imports transformers on first use
        if problem.result() is None:
            return folder, tokenizer
    folder = embedded_folder(progress, verify=True)  # says what is wrong, and builds it again
    return folder, _load_tokenizer(folder, source)


def _folder_of(source: ModelSource, progress: Progress) -> Path:
    """Fetch or convert, so that a folder with safetensors is there."""
    if source.kind == "hub":
        progress.update(STAGE, 0, 2, f"fetching {source.reference} from the Hub")
        return snapshot(source.reference)
    if source.kind == "folder":
        return Path(source.reference)
    path = Path(source.reference)
    try:
        name = f"gguf-{sha256_of(path)[:32]}"
    except OSError as error:
        raise ModelError(f"{source.reference!r} cannot be read: {error.strerror}") from error
    progress.update(STAGE, 0, 2, f"converting {path.name}, once")
    folder = cache_dir() / "models" / name
    return prepared(folder, lambda empty: convert_gguf(path, empty), progress=progress)


def _manifest_identity(folder: Path) -> str:
    """Join the hashes of weights and tokenizer, so that every machine agrees."""
    names = ("model.safetensors", "tokenizer.json")
    return "\n".join(f"{r.name} {r.sha256}" for r in read_manifest(folder) if r.name in names)


def _files_identity(folder: Path, source: ModelSource) -> str:
    """Tell two states of a folder apart without reading gigabytes of weights."""
    if source.kind == "hub":
        return f"{source.reference} {folder.name}"  # the folder is named after the commit
    if source.kind == "gguf":
        return folder.name
    stats = [(path.name, path.stat()) for path in sorted(folder.glob("*.safetensors"))]
    lines = [f"{name} {status.st_size} {status.st_mtime_ns}" for name, status in stats]
    small = [path for path in sorted(folder.glob("*.json")) if path.name != MANIFEST]
    return "\n".join([*lines, *(f"{path.name} {sha256_of(path)}" for path in small)])


def _load_tokenizer(folder: Path, source: ModelSource) -> PreTrainedTokenizerBase:
    """Load the tokenizer; give it a pad token and a chat template if it has none."""
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    except Exception as error:  # tokenizers raises no narrower class
        raise ModelError(f"the tokenizer of {source.label!r} cannot be read: {error}") from error
    if tokenizer.pad_token_id is None:
        if tokenizer.eos_token_id is None:
            raise ModelError(f"the tokenizer of {source.label!r} has no end-of-text token")
        tokenizer.pad_token = tokenizer.eos_token
    if tokenizer.chat_template is None:
        log.warning("%s has no chat template: a plain Question/Answer form is used", source.label)
        tokenizer.chat_template = FALLBACK_TEMPLATE
    if PROBE not in render(tokenizer, (Message("user", PROBE),)):
        raise ModelError(f"the chat template of {source.label!r} does not show a question")
    return tokenizer


def _load_model(folder: Path, source: ModelSource, dtype: torch.dtype) -> PreTrainedModel:
    """Load safetensors into a causal language model that is only read from."""
    from transformers import AutoModelForCausalLM

    try:
        with no_progress_bars():
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                folder,
                dtype=dtype,
                attn_implementation="sdpa",
                use_safetensors=True,
                local_files_only=True,
                trust_remote_code=False,
                output_loading_info=True,
            )
    except Exception as error:  # the hub's and safetensors' own errors share no base class
        raise ModelError(f"{source.label!r} cannot be loaded: {error}") from error
    model, info = loaded
    refuse_gaps(info, source.label)
    model.eval().requires_grad_(False)
    return model
