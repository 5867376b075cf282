"""Finds out by a few small requests what a model at an endpoint can do, before anything is bought.

1. A short streamed chat with every parameter that a study may send: what is refused is left out.
2. `n`, log-probabilities of the first token, and of a given text by two routes, one request each.
3. The given text is one that everybody knows: right must be likelier than wrong, and the tokens
   must spell it. Some servers pass over what they do not know without a word, so only what comes
   back counts, never that a request was taken.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from prism_core.errors import ModelError, PassingError
from prism_core.models.buying.dealer import most_tokens
from prism_core.models.buying.prices import Usage
from prism_core.models.remote.answer import RemoteAnswer
from prism_core.models.remote.client import Client
from prism_core.models.remote.dialect import messages_of
from prism_core.models.remote.first_token import first_tokens
from prism_core.models.remote.given_text import NonsenseError, score_given
from prism_core.models.remote.probe import Probe, PromptLogprobs
from prism_core.types import Message, Prompt, Sampling

HELLO: Prompt = (Message("user", "Reply with the single word: ready"),)
KNOWN: Prompt = (Message("user", "What is the capital of France? Answer with one word."),)
RIGHT, WRONG = "Paris", "Carpet"
TOPS = (20, 5)
"""How many first tokens are asked for: what most services allow, then what nearly all do."""
_HELLO_TOKENS = 16


Deal = Callable[[Callable[[], tuple[Any, Usage | None]], Usage], Any]


def probe_model(client: Client, deal: Deal) -> Probe:
    """Return what the model can do.

    Args:
        client: its connection.
        deal: sends a request, which can use so many tokens at the most.

    Raises:
        RemoteError: it does not answer; the sentence quotes the provider.
    """
    work = _Probing(client, deal)
    probe = work.hello()
    top = 0 if probe.reasons else work.top_logprobs()
    return replace(
        probe,
        top_logprobs=top,
        several=work.several(),
        prompt_logprobs=work.prompt_logprobs(),
        refused=client.dialect.refused,
        requests=work.requests,
        prompt_tokens=work.usage.prompt,
        tokens=work.usage.new,
        notes=tuple(work.notes),
    )


@dataclass
class _Probing:
    client: Client
    deal: Deal
    usage: Usage = field(default_factory=Usage)
    requests: int = 0
    notes: list[str] = field(default_factory=list)

    def hello(self) -> Probe:
        """Ask for a word, with every parameter that a study may send."""
        self.requests += 1
        answer: RemoteAnswer = self.deal(self._hello, most_tokens(HELLO, _HELLO_TOKENS))
        done = answer.completion(answer.finish or "stop")
        self.usage += answer.usage or Usage()
        thinks = bool(done.thought) or bool(answer.usage and answer.usage.reasoning)
        return Probe(
            endpoint=self.client.endpoint.name,
            model=self.client.model,
            usage=answer.usage is not None,
            # A model that used its tokens up and said nothing was thinking where nobody sees it.
            reasons=thinks or (done.finish == "length" and not done.text),
        )

    def _hello(self) -> tuple[RemoteAnswer, Usage | None]:
        sampling = Sampling(max_new_tokens=_HELLO_TOKENS, temperature=0.5, top_p=0.9)
        answer = RemoteAnswer(0.0)
        for piece in self.client.stream(self.client.dialect.body(HELLO, sampling, seed=1)):
            answer.take(piece)
        answer.check_end(self.client.endpoint.host)
        return answer, answer.usage

    def top_logprobs(self) -> int:
        """Return how many first tokens are reported; 0 for none."""
        for top in TOPS:
            found = self._try(partial(first_tokens, self.client, HELLO, top))
            if found:
                return top
        return 0

    def several(self) -> bool:
        """Ask for two answers at once, and count them."""

        def ask() -> tuple[int, Usage | None]:
            reply = self.client.chat({"messages": messages_of(HELLO), "max_tokens": 1, "n": 2})
            return len(reply.choices or ()), reply.usage

        return self._try(ask) == 2

    def prompt_logprobs(self) -> PromptLogprobs:
        """Return by which route given text can be scored, if any."""
        routes: tuple[PromptLogprobs, ...] = ("chat", "completions")
        for route in routes:
            if self._is_true(route):
                return route
        return "none"

    def _is_true(self, route: PromptLogprobs) -> bool:
        """Tell whether a known text gets what it must."""
        scores = []
        for answer in (RIGHT, WRONG):
            found = self._try(partial(score_given, self.client, route, KNOWN, answer))
            if found is None:
                return False
            scores.append(found.logprob)
        if scores[0] > scores[1]:
            return True
        self.notes.append(
            f"{self.client.endpoint.host} reports log-probabilities of given text by which "
            f"{WRONG!r} is as likely to be the capital of France as {RIGHT!r}; they are not used."
        )
        return False

    def _try(self, ask: Callable[[], tuple[Any, Usage | None]]) -> Any:
        """Return what `ask` finds, or None where the endpoint cannot do that."""
        self.requests += 1
        usage: Usage | None = None

        def noting() -> tuple[Any, Usage | None]:
            nonlocal usage
            found, usage = ask()
            return found, usage

        try:
            found = self.deal(noting, most_tokens(KNOWN, 2 + len(WRONG)))
        except PassingError as error:
            if error.kind in ("limited", "away"):
                raise
            return None  # some servers fail at what they do not know
        except NonsenseError as error:
            self.notes.append(f"{error} They are not used.")
            return None
        except ModelError:
            return None
        self.usage += usage or Usage()
        return found
