"""PRISM's stages 1-3 against plain loops over personas with `model.generate`, batch 8.

All sides run on one model with the same prompts, token limits and sampling. Two plain loops:
  plain   one persona after another, answering first with the persona and then without;
  joint   the same with both sides of a persona in one batch, the best that such a loop can do.
Both are favoured: they write one draft a question and never replace a bad one, they reuse our
questions, and a verdict costs them a single decoded token. Every call measures what `--arms` and
`--slice` name and adds it to `--file`; the last line sums up what is there. So a long measurement
can be made in parts.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from prism_core.inference.padding import pad_left
from prism_core.models.chat import encode_prompt
from prism_core.models.local import LocalModel
from prism_core.personas.library import load_personas
from prism_core.personas.prompts import build_prompt
from prism_core.prism.bootstrap.answers import AnswerConfig, answer_queries
from prism_core.prism.bootstrap.queries import (
    DRAFTING,
    OPENERS,
    QueryConfig,
    query_prompt,
    write_queries,
)
from prism_core.prism.bootstrap.verification import VerifyConfig, verify_pairs
from prism_core.prism.records import Query
from prism_core.progress import Progress
from prism_core.scorers.judges import ModelJudge, judging_prompt
from prism_core.storage import pack, unpack
from prism_core.storage.journal import MemoryJournal
from prism_core.types import Message, Persona, Prompt, PromptVariant, Sampling

PLAIN_BATCH = 8
Seconds = dict[str, float]


def main() -> None:
    """Measure what was asked for and print what is known."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, default=512, help="the most tokens of an answer")
    parser.add_argument("--queries", type=int, default=1, help="questions a persona")
    parser.add_argument("--personas", type=int, default=12)
    parser.add_argument("--arms", default="ours,plain", help="of ours, plain, joint")
    parser.add_argument("--slice", default="0:500", help="personas of the plain loops, a:b")
    parser.add_argument("--file", type=Path, help="adds to the results of earlier calls")
    args = parser.parse_args()
    found = json.loads(args.file.read_text()) if args.file and args.file.is_file() else {}
    model = LocalModel.load("embedded")
    library = load_personas()
    personas = [p for p in library.values() if p.kind != "control"][: args.personas]
    answering = Sampling(args.tokens, temperature=0.7, top_p=0.95)
    model.generate([(Message("user", "Hello"),)], Sampling(2))  # the first pass is slower
    if "ours" in args.arms or "ours" not in found:
        queries, seconds, tokens = ours(model, personas, args.queries, answering)
        found["queries"] = [pack(q) for q in queries]
        found["ours"] = {"all": {**seconds, "tokens": tokens}}
    queries = tuple(unpack(Query, q) for q in found["queries"])
    low, high = (int(part) for part in args.slice.split(":"))
    for arm in [a for a in ("plain", "joint") if a in args.arms.split(",")]:
        for persona in personas[low:high]:
            seconds, tokens = plain(model, [persona], queries, answering, arm == "joint")
            found.setdefault(arm, {})[persona.name] = {**seconds, "tokens": tokens}
    if args.file:
        args.file.write_text(json.dumps(found))
    print(
        f"{len(queries)} questions, answers up to {args.tokens} tokens, "
        f"{torch.get_num_threads()} threads"
    )
    for arm in [a for a in ("ours", "plain", "joint") if a in found]:
        report(arm, found, len(personas))


def report(arm: str, found: dict[str, dict[str, Seconds]], personas: int) -> None:
    """Print one side's seconds, and how they compare with ours."""
    parts, mine = found[arm], found["ours"]["all"]
    total = {key: sum(part[key] for part in parts.values()) for key in mine}
    seconds = {key: value for key, value in total.items() if key != "tokens"}
    line = f"{arm:<6}: {shown(seconds)}, {total['tokens']:.0f} answer tokens"
    if arm != "ours" and len(parts) < personas:
        line += f"; {len(parts)} of {personas} personas so far"
    elif arm != "ours":
        my_time = sum(value for key, value in mine.items() if key != "tokens")
        ratio = sum(seconds.values()) / my_time
        per_token = ratio * mine["tokens"] / total["tokens"]
        line += f"; we are {ratio:.1f}x as fast ({per_token:.1f}x per answer token)"
    print(line, flush=True)


def shown(seconds: Seconds) -> str:
    """Show seconds by stage as one line."""
    stages = ", ".join(f"{stage} {value:.1f} s" for stage, value in seconds.items())
    return f"{sum(seconds.values()):.0f} s ({stages})"


def ours(
    model: LocalModel, personas: Sequence[Persona], count: int, sampling: Sampling
) -> tuple[tuple[Query, ...], Seconds, int]:
    """Run our stages; return questions, seconds by stage, and answer tokens."""
    journal, progress, library = MemoryJournal(), Progress(), {p.name: p for p in personas}
    start = time.perf_counter()
    found = write_queries(QueryConfig(per_persona=count), personas, model, journal, progress)
    asked = time.perf_counter()
    config = AnswerConfig(sampling=sampling)
    pairs = answer_queries(config, found.queries, library, model, journal, progress)
    answered = time.perf_counter()
    judging = VerifyConfig(check_first=False)
    verify_pairs(judging, pairs, ModelJudge(model), journal, progress)
    end = time.perf_counter()
    tokens = sum(p.persona.tokens + p.neutral.tokens for p in pairs)
    seconds = {"questions": asked - start, "answers": answered - asked, "verdicts": end - answered}
    return found.queries, seconds, tokens


def plain(
    model: LocalModel,
    personas: Sequence[Persona],
    queries: Sequence[Query],
    sampling: Sampling,
    joint: bool,
) -> tuple[Seconds, int]:
    """Take one persona after another, each with batches of at most eight rows.

    With `joint`, answers with the persona and without it share batches.
    """
    seconds = {"questions": 0.0, "answers": 0.0, "verdicts": 0.0}
    tokens = 0
    verdict = Sampling(max_new_tokens=1)
    torch.manual_seed(0)
    for persona in personas:
        own = [q for q in queries if q.persona == persona.name]
        start = time.perf_counter()
        drafts = [query_prompt(persona, q.subtopic, OPENERS[0], True) for q in own]
        generated(model, drafts, DRAFTING)
        asked = time.perf_counter()
        variants = (PromptVariant(persona), PromptVariant())
        sides = [[build_prompt(q.text, v) for q in own] for v in variants]
        if joint:
            texts = generated(model, sides[0] + sides[1], sampling)
        else:
            texts = [text for side in sides for text in generated(model, side, sampling)]
        answered = time.perf_counter()
        pairs = [(q, texts[i][0], texts[len(own) + i][0]) for i, q in enumerate(own)]
        both = [judging_prompt(q.text, *order) for q, a, b in pairs for order in ((a, b), (b, a))]
        generated(model, both, verdict)
        seconds["questions"] += asked - start
        seconds["answers"] += answered - asked
        seconds["verdicts"] += time.perf_counter() - answered
        tokens += sum(n for _, n in texts)
    return seconds, tokens


@torch.inference_mode()
def generated(
    model: LocalModel, prompts: Sequence[Prompt], sampling: Sampling
) -> list[tuple[str, int]]:
    """Generate texts and count their tokens, by the library's own loop in batches of eight."""
    found = []
    is_random = sampling.temperature > 0
    settings = {"temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": 0}
    end = model.tokenizer.eos_token_id
    for start in range(0, len(prompts), PLAIN_BATCH):
        batch = prompts[start : start + PLAIN_BATCH]
        rows = [encode_prompt(model.tokenizer, p) for p in batch]
        ids, mask = pad_left(rows, torch.device("cpu"))
        out = model.model.generate(
            input_ids=ids,
            attention_mask=mask,
            max_new_tokens=sampling.max_new_tokens,
            do_sample=is_random,
            pad_token_id=end,
            **(settings if is_random else {}),
        )
        for row in out[:, ids.shape[1] :].tolist():
            length = row.index(end) + 1 if end in row else len(row)
            text = model.tokenizer.decode(row[:length], skip_special_tokens=True)
            found.append((text.strip(), length))
    return found


if __name__ == "__main__":
    main()
