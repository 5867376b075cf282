"""The most probable first tokens of a model's answer, through the chat endpoint.

Temperature 1 and no top_p leave the distribution as it is, whatever stage a server reports it from.
"""

from __future__ import annotations

from collections.abc import Mapping

from prism_core.errors import ModelError
from prism_core.models.buying.prices import Usage
from prism_core.models.remote.client import Client
from prism_core.models.remote.dialect import messages_of
from prism_core.types import Prompt


def first_tokens(
    client: Client, prompt: Prompt, top: int
) -> tuple[Mapping[str, float], Usage | None]:
    """Return log p of the `top` most probable first tokens by their text, and what it cost.

    Raises:
        RemoteError: the endpoint refused or failed.
        ModelError: it reports no log-probabilities, or what can be none.
    """
    reply = client.chat(
        {
            "messages": messages_of(prompt),
            "max_tokens": 1,
            "temperature": 1.0,
            "logprobs": True,
            "top_logprobs": top,
        }
    )
    found = reply.choices[0].logprobs if reply.choices else None
    places = found.content if found else None
    tops = places[0].top_logprobs if places else None
    if not tops:
        raise ModelError(
            f"{client.endpoint.host} does not report log-probabilities of what it writes."
        )
    # Two ids may spell one text; the likelier one stands for it.
    read: dict[str, float] = {}
    for one in tops:
        read[one.token] = max(one.logprob, read.get(one.token, -float("inf")))
    if any(value > 1e-3 for value in read.values()) or len(set(read.values())) == 1 < len(read):
        raise ModelError(
            f"{client.endpoint.host} reports log-probabilities that can be none "
            f"({str(read)[:120]})."
        )
    return read, reply.usage
