"""PRISM's stages 1-3 against a plain loop over personas with `model.generate`, batch 8.

Both sides run in one process on one model, with the same prompts, token limits and sampling. The
plain loop is given every benefit that a plain loop can have: it writes one draft a question and
never replaces a bad one, it reuses our questions, it answers with and without the persona in one
batch, and a verdict costs it a single decoded token. Prints seconds a stage and the ratio.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

import torch

from prism_core.answers import AnswerConfig, AnswerInputs, answer_queries
from prism_core.chat import encode_prompt
from prism_core.decoding import pad_left
from prism_core.journal import MemoryJournal
from prism_core.judges import judging_prompt
from prism_core.models import LocalModel
from prism_core.personas import load_personas
from prism_core.progress import Progress
from prism_core.prompts import build_prompt
from prism_core.queries import DRAFTING, OPENERS, QueryConfig, query_prompt, write_queries
from prism_core.records import Query
from prism_core.types import Message, Persona, Prompt, PromptVariant, Sampling
from prism_core.verification import VerifyConfig, make_judge, verify_pairs

PLAIN_BATCH = 8
Seconds = dict[str, float]


def main() -> None:
    """Run both sides and print seconds, tokens and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, default=512, help="the most tokens of an answer")
    parser.add_argument("--queries", type=int, default=1, help="questions a persona")
    parser.add_argument("--personas", type=int, default=12)
    args = parser.parse_args()
    model = LocalModel.load("embedded")
    library = load_personas()
    personas = [p for p in library.values() if p.kind != "control"][: args.personas]
    answering = Sampling(args.tokens, temperature=0.7, top_p=0.95)
    model.generate([(Message("user", "Hello"),)], Sampling(2))  # the first pass is slower
    begun = time.process_time()
    queries, mine, my_tokens = ours(model, personas, args.queries, answering)
    between = time.process_time()
    print(f"ours       : {shown(mine)}, {my_tokens} answer tokens", flush=True)
    theirs, their_tokens = plain(model, personas, queries, answering)
    # Seconds of CPU suffer less from what else the machine is doing.
    cpu = (time.process_time() - between) / (between - begun)
    print(f"plain loop : {shown(theirs)}, {their_tokens} answer tokens")
    total, other = sum(mine.values()), sum(theirs.values())
    per_token = (other / their_tokens) / (total / my_tokens)
    print(
        f"stages 1-3, {len(queries)} questions, answers up to {args.tokens} tokens, "
        f"{torch.get_num_threads()} threads: {total:.0f} s against {other:.0f} s, "
        f"ratio {other / total:.1f} ({per_token:.1f} per answer token; CPU time {cpu:.1f})"
    )


def shown(seconds: Seconds) -> str:
    """Seconds by stage as one line."""
    return ", ".join(f"{stage} {value:.1f} s" for stage, value in seconds.items())


def ours(
    model: LocalModel, personas: Sequence[Persona], count: int, sampling: Sampling
) -> tuple[tuple[Query, ...], Seconds, int]:
    """The stages as they are: questions, seconds by stage, answer tokens."""
    journal, progress, library = MemoryJournal(), Progress(), {p.name: p for p in personas}
    start = time.perf_counter()
    found = write_queries(QueryConfig(per_persona=count), personas, model, journal, progress)
    asked = time.perf_counter()
    inputs = AnswerInputs(found.queries, library)
    pairs = answer_queries(AnswerConfig(sampling=sampling), inputs, model, journal, progress)
    answered = time.perf_counter()
    config = VerifyConfig(check_first=False)
    verify_pairs(config, pairs, make_judge(config, model), journal, progress)
    end = time.perf_counter()
    tokens = sum(p.persona.tokens + p.neutral.tokens for p in pairs)
    seconds = {"questions": asked - start, "answers": answered - asked, "verdicts": end - answered}
    return found.queries, seconds, tokens


def plain(
    model: LocalModel, personas: Sequence[Persona], queries: Sequence[Query], sampling: Sampling
) -> tuple[Seconds, int]:
    """One persona after another, each with batches of at most eight rows."""
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
        prompts = [build_prompt(q.text, v) for q in own for v in variants]
        texts = generated(model, prompts, sampling)
        answered = time.perf_counter()
        pairs = [(q, texts[2 * i][0], texts[2 * i + 1][0]) for i, q in enumerate(own)]
        both = [
            judging_prompt(q.text, *order) for q, a, b in pairs for order in ((a, b), (b, a))
        ]
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
    """Texts and their numbers of tokens, by the library's own loop in batches of eight."""
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
