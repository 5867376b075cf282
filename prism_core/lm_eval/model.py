"""PRISM as a model of lm-evaluation-harness: `--model prism --model_args adapter=...`.

The harness hands over plain text (its chat template and system instruction already in it) and asks
for log-likelihoods or for text. Every context is read once, its gate decides in that same pass, and
all its continuations follow from the context's cache. Without an adapter it is the base model.
Where nothing stands before the text (perplexity), the gate sees the one token that begins it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast, get_args

import torch
from jinja2 import TemplateError
from lm_eval.api.instance import Instance
from lm_eval.api.model import TemplateLM
from lm_eval.models.utils import normalize_gen_kwargs
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

from prism_core.errors import InputError
from prism_core.inference.logprobs import continuation_scores
from prism_core.inference.rows import Row, Rows
from prism_core.inference.widths import batches_by_width
from prism_core.lora.weights import LoraWeights
from prism_core.models.local import LocalModel
from prism_core.prism.bundle import load_bundle
from prism_core.prism.gating.gated_model import GatedModel
from prism_core.study.resolve import find_adapter
from prism_core.types import GateMode, Sampling

MAX_ROWS = 64
"""Contexts read, or answers written, together."""
MAX_TOKENS = 6_144
"""Padded tokens of one batch's continuations, whose logits are all needed."""
DEFAULT_ANSWER = 256


class PrismLM(TemplateLM):
    """A base model, and on it an adapter behind its gate."""

    backend = "causal"

    def __init__(
        self,
        pretrained: str = "embedded",
        adapter: str | None = None,
        threshold: float | str | None = None,
        gate: str = "auto",
        max_gen_toks: int | str = DEFAULT_ANSWER,
        max_length: int | str | None = None,
        batch_size: int | str | None = None,
        max_batch_size: int | str | None = None,
        device: str | None = None,
        add_bos_token: bool | str = False,
        model: LocalModel | None = None,
    ) -> None:
        """Load the model and, if one is named, the adapter.

        Args:
            pretrained: a model's reference; see `python -m prism_core models`.
            adapter: a shipped adapter's name, or a bundle's folder.
            threshold: the gate opens at this probability; by default the adapter's own.
            gate: `auto`, or `open` or `closed` to hold it.
            max_gen_toks: the longest answer where a task does not say.
            max_length: the most tokens read; by default the model's context.
            batch_size: contexts read together; `auto` and None let the memory decide.
            max_batch_size: an upper limit of it.
            device: such as `cuda:0`; by default, or where there is none, chosen from the hardware.
            add_bos_token: whether plain text begins with the tokenizer's first token.
            model: a model that is loaded already.

        Raises:
            PrismError: model or adapter cannot be loaded, or a value is not allowed.
        """
        super().__init__()
        if gate not in get_args(GateMode):
            raise InputError(f"gate is '{gate[:40]}'; it must be auto, open or closed.")
        self.base = model or LocalModel.load(pretrained, device=device_of(device))
        self.gated: GatedModel | None = None
        if adapter:
            limit = None if threshold is None else float(threshold)
            self.gated = load_bundle(find_adapter(str(adapter))[0], self.base, limit)
        self._gate = cast(GateMode, gate)
        self.tokenizer = self.base.tokenizer
        self.max_gen_toks = int(max_gen_toks)
        self.max_length = min(int(max_length or 10**9), self.base.context_tokens)
        rows = MAX_ROWS if batch_size is None or "auto" in str(batch_size) else int(batch_size)
        self._rows = max(1, min(rows, int(max_batch_size or MAX_ROWS)))
        self.batch_size = self._rows
        self._bos = str(add_bos_token).lower() == "true"
        self._opened = self._read = 0

    @property
    def eot_token_id(self) -> int:
        """The token that ends an answer."""
        return int(self.tokenizer.eos_token_id)

    @property
    def prefix_token_id(self) -> int:
        """The token that stands for an empty context."""
        first = self.tokenizer.bos_token_id
        return self.eot_token_id if first is None else int(first)

    @property
    def tokenizer_name(self) -> str:
        """Tokenizer and template, for the harness's cache."""
        return self.base.fingerprint

    def tok_encode(
        self, string: str, add_special_tokens: bool | None = None, **kwargs: Any
    ) -> list[int]:
        """Encode a text in which control tokens are meant as such."""
        special = self._bos if add_special_tokens is None else add_special_tokens
        return list(self.tokenizer(string, add_special_tokens=special)["input_ids"])

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> str:
        """Render a conversation by the model's template.

        A template without a system turn gets its text in front of the first user turn, so that a
        system instruction is never lost.
        """
        turns = list(chat_history)
        if turns and turns[0]["role"] == "system" and not self.base.has_system_role:
            turns = _without_system(turns)
        try:
            text = self.tokenizer.apply_chat_template(
                turns,
                tokenize=False,
                add_generation_prompt=add_generation_prompt,
                continue_final_message=not add_generation_prompt,
            )
        except TemplateError as error:
            raise InputError(f"The chat template refuses this conversation: {error}") from error
        return str(text)

    def get_model_info(self) -> dict[str, Any]:
        """Say which model the results are of, and how often its gate opened."""
        info: dict[str, Any] = {"model": self.base.name, "model_sha": self.base.fingerprint}
        if self.gated is not None:
            info |= {
                "adapter": self.gated.label,
                "adapter_sha": self.gated.adapter_hash,
                "gate": self._gate,
                "gate_threshold": self.gated.threshold,
                "gate_opened": self._opened,
                "gate_read": self._read,
            }
        return info

    def _loglikelihood_tokens(
        self,
        requests: Sequence[tuple[tuple[str, str] | None, list[int], list[int]]],
        disable_tqdm: bool = False,
        **kwargs: Any,
    ) -> list[tuple[float, bool]]:
        """Score each continuation: log-likelihood, and whether greedy decoding would write it."""
        found: list[tuple[float, bool]] = [(0.0, True)] * len(requests)
        groups: dict[tuple[int, ...], list[int]] = {}
        for i, (_, asked_of, continuation) in enumerate(requests):
            if continuation:
                # The last token is predicted but never read, so one more than the window fits.
                window = (asked_of + continuation)[-(self.max_length + 1) :]
                cut = window[: -len(continuation)]
                groups.setdefault(tuple(cut), []).append(i)
        every = list(groups)
        width = [len(c) + sum(len(requests[i][2]) for i in groups[c]) for c in every]
        for batch in batches_by_width(width, MAX_TOKENS, self._rows):
            contexts = [every[k] for k in batch]
            tails = [[requests[i][2] for i in groups[c]] for c in contexts]
            adapters = self._adapters(contexts)
            with self.base.lock, torch.inference_mode():
                rows = continuation_scores(self.base.model, contexts, tails, adapters)
            for context, row in zip(contexts, rows, strict=True):
                for i, scored in zip(groups[context], row, strict=True):
                    found[i] = scored
                    asked = requests[i][0]
                    if asked is not None:
                        self.cache_hook.add_partial("loglikelihood", asked, scored)
        return found

    def loglikelihood_rolling(
        self, requests: list[Instance], disable_tqdm: bool = False
    ) -> list[float]:
        """Score whole texts, each token predicted once, with all context there is."""
        found = []
        for request in requests:
            (text,) = request.args
            windows = get_rolling_token_windows(
                token_list=self.tok_encode(text, add_special_tokens=False),
                prefix_token=self.prefix_token_id,
                max_seq_len=self.max_length,
                context_len=1,
            )
            parts = [(None, *make_disjoint_window(window)) for window in windows]
            total = sum(score for score, _ in self._loglikelihood_tokens(parts))
            found.append(total)
            self.cache_hook.add_partial("loglikelihood_rolling", (text,), total)
        return found

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """Write answers, each cut before the first of its stop texts."""
        found = [""] * len(requests)
        same: dict[str, list[int]] = {}
        for i, request in enumerate(requests):
            same.setdefault(repr(sorted(request.args[1].items())), []).append(i)
        for places in same.values():
            for start in range(0, len(places), self._rows):
                batch = places[start : start + self._rows]
                answers = self._write([requests[i].args for i in batch], batch)
                for i, answer in zip(batch, answers, strict=True):
                    found[i] = answer
                    self.cache_hook.add_partial("generate_until", requests[i].args, answer)
        return found

    def _write(self, asked: Sequence[tuple[str, dict[str, Any]]], seeds: list[int]) -> list[str]:
        given = normalize_gen_kwargs(asked[0][1], default_max_gen_toks=self.max_gen_toks)
        stops = [text for text in given.get("until", []) if text]
        sampling = Sampling(
            max_new_tokens=int(given["max_gen_toks"]),
            temperature=float(given.get("temperature") or 0.0),
            top_p=float(given.get("top_p", 1.0)),
            top_k=int(given.get("top_k", 0) or 0),
            repetition_penalty=float(given.get("repetition_penalty", 1.0)),
        )
        room = self.max_length - sampling.max_new_tokens
        if room < 1:
            raise InputError(
                f"An answer of {sampling.max_new_tokens:,} tokens leaves no room for the question: "
                f"this model reads {self.max_length:,} in all."
            )
        rows = [self.tok_encode(text)[-room:] for text, _ in asked]
        ends, adapters = frozenset({self.eot_token_id}), self._adapters(rows)
        answers: list[Row] = []
        for answers in self.base.write(rows, sampling, seeds, stop_ids=ends, adapters=adapters):
            for row in answers:
                if row.is_running and any(stop in self._text(row.answer) for stop in stops):
                    row.finish = "stop"
        return [_cut(self._text(row.answer), stops) for row in answers]

    def _text(self, ids: list[int]) -> str:
        return str(self.tokenizer.decode(ids, skip_special_tokens=True))

    def _adapters(self, rows: Rows) -> list[LoraWeights | None]:
        """Ask the gate which rows use the adapter."""
        if self.gated is None:
            return [None] * len(rows)
        readings = self.gated.readings_of(rows, self._gate)
        if self.gated.gate is not None:
            self._read += len(readings)
            self._opened += sum(reading.is_open for reading in readings)
        return [self.gated.lora if reading.is_open else None for reading in readings]


def _without_system(turns: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """Put the system turn's text in front of the first user turn."""
    system, *rest = turns
    if not rest or rest[0]["role"] != "user":
        return [{"role": "user", "content": system["content"]}, *rest]
    first = {"role": "user", "content": f"{system['content']}\n\n{rest[0]['content']}"}
    return [first, *rest[1:]]


def _cut(text: str, stops: Sequence[str]) -> str:
    for stop in stops:
        text = text.split(stop, 1)[0]
    return text


def device_of(name: str | None) -> torch.device | None:
    """Return the device of a name; None lets the hardware decide.

    The harness asks for `cuda:0` where nobody chose, and so on machines without one as well.
    """
    if not name or (name.startswith("cuda") and not torch.cuda.is_available()):
        return None
    return torch.device(name)
