"""What ought to be equal on a GPU in its own number format, and how much of it is."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.support.decoding_loops import Loops
from benchmarks.support.random_models import modes, random_gated, random_prompts, randomise
from prism_core.inference.padding import pad_left
from prism_core.lora.training import save_lora, trainable_lora
from prism_core.lora.weights import LoraWeights
from prism_core.models.local import LocalModel
from prism_core.types import Completion, GateMode, Sampling

_ROWS = 16


def print_equalities(model: LocalModel, prompt_tokens: int, new_tokens: int) -> None:
    """Print how much is equal: texts by greedy decoding, and an open adapter's logits."""
    prompts = random_prompts(model, _ROWS, prompt_tokens)
    greedy = Sampling(new_tokens, temperature=0.0)

    def routed(gates: GateMode | list[GateMode]) -> list[str]:
        return texts(gated.generate(prompts, greedy, 0, gates=gates))

    together = texts(model.generate(prompts, greedy, 0))
    alone = [texts(model.generate([one], greedy, 0))[0] for one in prompts]
    with tempfile.TemporaryDirectory() as folder:
        gated = random_gated(model, Path(folder))
    show("gate closed against the base", together, routed("closed"))
    mixed, opened = routed(modes(_ROWS)["every second"]), routed("open")
    show("closed rows beside open ones, against the base", together[::2], mixed[::2])
    show("open rows beside closed ones, against all open", opened[1::2], mixed[1::2])
    show(f"{_ROWS} rows together against each alone", together, alone)
    loops = Loops(model, prompts, greedy)
    ids, mask = pad_left(loops.rows, model.model.device)
    with torch.inference_mode():
        out = model.model.generate(
            input_ids=ids, attention_mask=mask, generation_config=loops.config(None)
        )
    theirs = model.tokenizer.batch_decode(out[:, ids.shape[1] :], skip_special_tokens=True)
    show("ours against model.generate", together, theirs)
    peft_against_ours(model, ids[:4], mask[:4])


def texts(answers: Sequence[Completion]) -> list[str]:
    """Return the texts of answers."""
    return [answer.text for answer in answers]


def peft_against_ours(model: LocalModel, ids: torch.Tensor, mask: torch.Tensor) -> None:
    """Print how far an open adapter's logits are from PEFT's."""
    with torch.no_grad(), tempfile.TemporaryDirectory() as folder:
        with trainable_lora(model.model, 16, 32, 0) as peft:
            randomise(peft, model.model.config.initializer_range)
            save_lora(peft, Path(folder), model.name, "float32")
            theirs = peft(input_ids=ids, attention_mask=mask).logits.float()
        with LoraWeights.load(Path(folder), model.model).active(model.model):
            ours = model.model(input_ids=ids, attention_mask=mask).logits.float()
        base = model.model(input_ids=ids, attention_mask=mask).logits.float()
    real = mask.bool()
    apart, effect = (ours - theirs)[real].abs().max(), (base - theirs)[real].abs().max()
    same = (ours.argmax(-1) == theirs.argmax(-1))[real].float().mean()
    print(
        f"  gate open against PEFT: logits at most {apart:.3g} apart (the adapter moves them by up "
        f"to {effect:.3g}), the likeliest token equal at {same:.1%} of the positions"
    )


def show(what: str, first: Sequence[str], second: Sequence[str]) -> None:
    """Print how many texts are equal, and how many words agree before the first that differs."""
    equal, common, total = 0, 0, 0
    for a, b in zip(first, second, strict=True):
        one, other = a.split(), b.split()
        pairs = zip(one, other, strict=False)
        ahead = next((i for i, (x, y) in enumerate(pairs) if x != y), min(len(one), len(other)))
        equal, common, total = equal + (a == b), common + ahead, total + len(one)
    print(f"  {what}: {equal} of {len(first)} texts equal, {common / max(1, total):.1%} in common")
