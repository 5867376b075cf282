"""The second pass of 'persona, then verify': the persona drafts, a neutral pass corrects."""

from __future__ import annotations

from prism_core.types import Message, Prompt

_VERIFY = """Below are a question and a draft of its answer. The draft may contain mistakes.

Question:
{question}

Draft:
{draft}

Check every fact, number and step of the draft. Correct what is wrong, keep what is right, and \
make sure that the question is answered. Reply with the corrected answer only: no remarks about \
the draft and no list of changes."""


def verification_prompt(question: str, draft: str) -> Prompt:
    """The second, neutral pass of 'persona, then verify'.

    The persona is not mentioned: this pass must see the draft as anybody's.

    Args:
        question: the question as the persona was asked it.
        draft: what the persona answered.
    """
    # One pass over the template: braces in the question or the draft are left as they are.
    return (Message("user", _VERIFY.format(question=question.strip(), draft=draft.strip())),)
