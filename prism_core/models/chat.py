"""From messages to the token ids a model reads, through its own chat template.

Text that people type can spell a control token such as `<|im_end|>`. Read naively, it would end the
turn and start another. Such text is encoded as plain characters, so it cannot.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from prism_core.errors import ModelError
from prism_core.types import Message, Prompt

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

PROBE = "qz7 probe qz7"
"""A text whose place in a rendered template shows what the template does with a turn."""


def has_system_role(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Tell whether the chat template takes a system turn and shows its text to the model."""
    try:
        text = render(tokenizer, (Message("system", PROBE), Message("user", "x")))
    except ModelError:
        return False
    return PROBE in text


def render(tokenizer: PreTrainedTokenizerBase, prompt: Prompt) -> str:
    """Render a prompt by the model's template as text that is ready to be answered.

    Raises:
        ModelError: the template refuses the prompt, or is broken.
    """
    messages = [{"role": m.role, "content": m.content} for m in prompt]
    try:
        text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    except Exception as error:  # a template is a program: it may raise whatever it likes
        raise ModelError(
            f"The chat template of this model fails: {str(error)[:200] or type(error).__name__}"
        ) from error
    return cast(str, text)


def encode_prompt(tokenizer: PreTrainedTokenizerBase, prompt: Prompt) -> list[int]:
    """Encode a prompt as token ids, with no control token that the template itself did not write.

    A prompt that ends with an assistant's turn is to be continued: that turn is left open.
    """
    if len(prompt) > 1 and prompt[-1].role == "assistant":
        return encode_prompt(tokenizer, prompt[:-1]) + encode_text(tokenizer, prompt[-1].content)
    specials = [t for t in tokenizer.all_special_tokens if t]
    specials += [str(t) for t in tokenizer.added_tokens_decoder.values()]
    if not any(s in m.content for m in prompt for s in specials):
        return _ids(tokenizer, render(tokenizer, prompt))
    # Render placeholders in place of the texts, then encode template and texts apart.
    marks = {f"\ue000{i}\ue001": m.content for i, m in enumerate(prompt)}
    marked = tuple(Message(m.role, mark) for m, mark in zip(prompt, marks, strict=True))
    rest = render(tokenizer, marked)
    ids: list[int] = []
    for mark, content in marks.items():
        before, _, rest = rest.partition(mark)
        ids += _ids(tokenizer, before)
        ids += _ids(tokenizer, content, plain=True)
    return ids + _ids(tokenizer, rest)


def encode_text(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Encode an answer's text, control tokens spelled out as plain characters."""
    return _ids(tokenizer, text, plain=True)


def _ids(tokenizer: PreTrainedTokenizerBase, text: str, plain: bool = False) -> list[int]:
    if not text:
        return []
    encoded = tokenizer(text, add_special_tokens=False, split_special_tokens=plain)
    return cast(list[int], encoded["input_ids"])
