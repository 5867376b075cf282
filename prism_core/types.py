"""The nouns of PRISM Studio as frozen values.

A `Persona` has a text for each length; a `PromptVariant` is a persona (or none) at a length and a
placement; a `Prompt` is a tuple of `Message`s; a `Generator` turns prompts into `Completion`s; a
judge turns two completions into a `Verdict`; every number shown to a person is an `Estimate`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

Role = Literal["system", "user", "assistant"]
Length = Literal["min", "short", "long"]
Placement = Literal["system", "user"]
PersonaKind = Literal["expert", "behaviour", "control"]
Winner = Literal["persona", "neutral", "tie"]
Finish = Literal["running", "stop", "length", "filtered", "cancelled"]
"""`filtered`: the provider's own filter ended the answer, or gave none."""
GateMode = Literal["auto", "open", "closed"]
"""Let the gate decide, or hold it open or closed for a row."""

LENGTHS: tuple[Length, ...] = ("min", "short", "long")
PLACEMENTS: tuple[Placement, ...] = ("system", "user")
PERSONA_KINDS: tuple[PersonaKind, ...] = ("expert", "behaviour", "control")


@dataclass(frozen=True)
class Message:
    """One turn of a conversation."""

    role: Role
    content: str


Prompt = tuple[Message, ...]
"""A conversation that ends where the model is to answer."""


@dataclass(frozen=True)
class Persona:
    """A character that a prompt can ask a model to be (PRISM, section 3)."""

    name: str
    """Short identifier, unique in a library: lower-case letters, digits, `_`."""
    title: str
    kind: PersonaKind
    domain: str
    """What questions the persona would serve, as a short phrase."""
    texts: Mapping[str, str]
    """A text for each length: `min` ~5, `short` ~75, `long` ~150 tokens."""
    subtopics: tuple[str, ...] = ()
    """Topics within the domain, used to spread self-written queries."""


@dataclass(frozen=True)
class PromptVariant:
    """A persona (or none) at a length and a placement."""

    persona: Persona | None = None
    """None for the neutral prompt."""
    length: Length = "long"
    placement: Placement = "system"
    """The turn that carries the persona's text."""

    @property
    def label(self) -> str:
        """A short unique name, such as `math/long/system`; `neutral` without a persona."""
        if self.persona is None:
            return "neutral"
        return f"{self.persona.name}/{self.length}/{self.placement}"


@dataclass(frozen=True)
class Sampling:
    """How the next token is drawn. Temperature 0 is greedy decoding."""

    max_new_tokens: Annotated[int, Field(ge=1, le=8192)] = 256
    temperature: Annotated[float, Field(ge=0, le=5)] = 0.0
    """Divides the logits; 0 takes the most probable token."""
    top_p: Annotated[float, Field(ge=0.01, le=1)] = 1.0
    """Keep the smallest set of tokens whose probability reaches this; 1 keeps all."""
    top_k: Annotated[int, Field(ge=0, le=100_000)] = 0
    """Keep this many most probable tokens; 0 keeps all."""
    repetition_penalty: Annotated[float, Field(ge=0.5, le=2)] = 1.0
    """Divides positive logits of tokens already seen, multiplies negative ones; 1 does nothing."""


@dataclass(frozen=True)
class GateReading:
    """What the gate said about one row (PRISM, equation 5)."""

    probability: float
    """P(persona helps | query)."""
    is_open: bool
    """Whether the adapter answered."""


@dataclass(frozen=True)
class Completion:
    """A model's answer to one prompt, whole or so far."""

    text: str
    """The answer without its thoughts and without special tokens."""
    thought: str = ""
    """What a reasoning model wrote between `<think>` tags."""
    prompt_tokens: int = 0
    """Tokens in the prompt, chat template included."""
    tokens: int = 0
    """Tokens drawn so far."""
    first_token_seconds: float | None = None
    """Time from the call to the first token; None before it."""
    seconds: float = 0.0
    """Time from the call to the latest token of this row."""
    finish: Finish = "running"
    gate: GateReading | None = None
    """None unless a gated model answered."""
    reasoning_tokens: int = 0
    """Those of `tokens` that were thoughts, where a provider counts them apart."""

    @property
    def tokens_per_second(self) -> float | None:
        """Decoding speed of this row; None before the second token."""
        if self.first_token_seconds is None or self.tokens < 2:
            return None
        span = self.seconds - self.first_token_seconds
        return (self.tokens - 1) / span if span > 0 else None


@dataclass(frozen=True)
class ChoiceScore:
    """The log-likelihood of one choice as the continuation of a prompt."""

    logprob: float
    """Sum of the tokens' log-probabilities, in nats."""
    tokens: int

    @property
    def mean_logprob(self) -> float:
        """Length-normalised log-likelihood, in nats a token."""
        return self.logprob / self.tokens


@dataclass(frozen=True)
class TokenScore:
    """The log-probability of one token of a given answer."""

    text: str
    logprob: float
    """log p(token | prompt and earlier tokens), in nats."""


@dataclass(frozen=True)
class Verdict:
    """A pairwise judgement in both orders; the persona wins only if chosen in both."""

    winner: Winner
    """`persona` or `neutral` if chosen in both orders, else `tie`."""
    persona_first: float
    """P(persona's answer is better) when it is shown first."""
    persona_second: float
    """P(persona's answer is better) when it is shown second."""

    @property
    def is_consistent(self) -> bool:
        """Whether both orders chose the same answer."""
        return (self.persona_first > 0.5) == (self.persona_second > 0.5)


@dataclass(frozen=True)
class Estimate:
    """A number with its uncertainty. Every number shown to a person is one."""

    value: float | None
    """None where the data cannot define it."""
    low: float | None
    high: float | None
    """Ends of the interval; None where there is none."""
    n: int
    """How many independent items it rests on."""
    level: float = 0.95
    """Coverage of the interval."""

    def __str__(self) -> str:
        if self.value is None:
            return f"not defined (n={self.n})"
        if self.low is None or self.high is None:
            return f"{self.value:.3f} (n={self.n})"
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}] (n={self.n})"
