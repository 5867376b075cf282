"""Sixty-four different questions that a small model can answer at length."""

from __future__ import annotations

TOPICS = (
    "a long walk by the sea",
    "how a bicycle stays upright",
    "the work of a baker from midnight to morning",
    "what a visitor should know before climbing a mountain",
    "a lighthouse and its last keeper",
    "how a seed becomes a tree",
    "moving to a new city",
    "trains and aeroplanes for a journey of 500 km",
)
WISHES = (
    "Write a letter to a friend about",
    "Explain to a child",
    "Give five pieces of advice on",
    "Tell a short story about",
    "Write a newspaper article on",
    "List the most common mistakes people make about",
    "Prepare a short speech on",
    "Ask and answer three questions about",
)
QUESTIONS = tuple(f"{wish} {topic}." for wish in WISHES for topic in TOPICS)
