"""How probable a given answer is behind a model's chat template, where an endpoint can tell.

Two routes are known, and a probe tries both on a text whose answer is known:

- chat: vLLM's chat endpoint reports `prompt_logprobs` of a conversation whose last turn is the
  given answer, left open (`continue_final_message`).
- completions: `/completions` echoes a text with its log-probabilities, and the server renders its
  own chat template (llama.cpp's `/apply-template`). A server that echoes but cannot render is not
  used: numbers behind another template could not be compared with a local model's.

What comes back is checked to spell the given answer, since some servers report log-probabilities of
something else without a word (llama.cpp #27174).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from pydantic import BaseModel, ValidationError

from prism_core.errors import ModelError
from prism_core.models.buying.prices import Usage
from prism_core.models.remote.client import Client
from prism_core.models.remote.dialect import messages_of
from prism_core.models.remote.probe import PromptLogprobs
from prism_core.models.remote.reply import Counted
from prism_core.types import ChoiceScore, Prompt

COMPLETIONS = "/completions"


class _Echo(BaseModel):
    """Log-probabilities as the completions endpoint reports them."""

    tokens: list[str]
    token_logprobs: list[float | None]
    text_offset: list[int]


class _EchoChoice(BaseModel):
    logprobs: _Echo


class _EchoReply(BaseModel):
    choices: list[_EchoChoice]
    usage: Counted | None = None


class NonsenseError(ModelError):
    """An endpoint reported log-probabilities that are not those of the given text."""


def score_given(
    client: Client, route: PromptLogprobs, prompt: Prompt, answer: str
) -> tuple[ChoiceScore, Usage | None]:
    """Return the log-likelihood of an answer as the start of the model's turn, and what it cost.

    Raises:
        RemoteError: the endpoint refused or failed.
        NonsenseError: what it reports does not belong to the answer.
        ModelError: there is no such route.
    """
    if route == "chat":
        return _by_chat(client, prompt, answer)
    if route == "completions":
        return _by_completions(client, render(client, prompt), answer)
    raise _unable(client)


def render(client: Client, prompt: Prompt) -> str:
    """Return a prompt as the server's own chat template renders it.

    Raises:
        RemoteError: the server cannot do that.
    """
    root = client.endpoint.base_url.rstrip("/").removesuffix("/v1")
    found = client.post(
        f"{root}/apply-template", {"messages": messages_of(prompt)}, "render its chat template"
    )
    text = found.get("prompt")
    if not isinstance(text, str) or prompt[-1].content.strip() not in text:
        raise client.protocol_error(str(found))
    return text


def _by_chat(client: Client, prompt: Prompt, answer: str) -> tuple[ChoiceScore, Usage | None]:
    turns = [*messages_of(prompt), {"role": "assistant", "content": answer}]
    reply = client.chat(
        {
            "messages": turns,
            "add_generation_prompt": False,
            "continue_final_message": True,
            "prompt_logprobs": 0,
            "max_tokens": 1,
        }
    )
    places = reply.prompt_logprobs
    if places is None:  # what it does not know, it passed over
        raise _unable(client)
    # The first of a place's tokens is the one that stands there.
    tokens = [next(iter(place.values())) for place in places if place]
    spelt, values = "", []
    for token in reversed(tokens):
        if len(spelt) >= len(answer):
            break
        spelt = (token.decoded_token or "") + spelt
        values.append(token.logprob)
    if spelt.lstrip() != answer.lstrip():
        raise _nonsense(client, f"{spelt!r} in place of {answer!r}")
    return _score(client, values), reply.usage


def _by_completions(client: Client, text: str, answer: str) -> tuple[ChoiceScore, Usage | None]:
    whole = text + answer
    found = client.post(
        COMPLETIONS,
        {"model": client.model, "prompt": whole, "max_tokens": 1, "echo": True, "logprobs": 1},
        "score given text",
    )
    choices = found.get("choices")
    if not (isinstance(choices, list) and choices and choices[0].get("logprobs")):
        raise _unable(client)
    try:
        reply = _EchoReply.model_validate(found)
        echo = reply.choices[0].logprobs
        rows = list(zip(echo.tokens, echo.token_logprobs, echo.text_offset, strict=True))
    except (ValidationError, ValueError, IndexError):
        raise _nonsense(client, str(choices[0]["logprobs"])) from None
    inside = [row for row in rows if row[2] < len(whole) and row[2] + len(row[0]) > len(text)]
    spelt = "".join(token for token, _, _ in inside)
    if spelt.strip() != answer.strip():
        raise _nonsense(client, f"{spelt!r} in place of {answer!r}")
    return _score(
        client, [value for _, value, _ in inside]
    ), reply.usage.usage if reply.usage else None


def _score(client: Client, values: Sequence[float | None]) -> ChoiceScore:
    """Return the sum, if these can be log-probabilities."""
    known = [value for value in values if value is not None and math.isfinite(value)]
    if not known or len(known) < len(values) or any(value > 0.0 for value in known):
        raise _nonsense(client, str(list(values)))
    return ChoiceScore(float(sum(known)), len(known))


def _unable(client: Client) -> ModelError:
    return ModelError(
        f"{client.endpoint.host} cannot score given text: it does not report the log-probabilities "
        "of a prompt. Let the model name or write the letter of its choice, or use another model."
    )


def _nonsense(client: Client, what: str) -> NonsenseError:
    return NonsenseError(
        f"{client.endpoint.host} reports log-probabilities that are not those of the given text "
        f"({what[:120]})."
    )
