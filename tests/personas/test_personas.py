"""Personas from strangers: plain YAML alone, names that do not clash, nothing lost on the way."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import pytest

from app.common.persona_choices import MAX_OWN_PERSONAS
from app.personas.form import FIELDS, free_name, name_from, persona_of, values_of
from app.personas.handlers import PersonaHandlers, TokenCounter
from app.personas.own import import_yaml, keep, read_own, read_uploads, write_own
from app.personas.panel import build_editor, build_panel
from app.personas.views import counts_line, sheet
from app.services.model_pool import ModelPool
from prism_core.errors import InputError
from prism_core.personas.library import (
    dump_persona,
    dump_personas,
    load_personas,
    make_persona,
    parse_persona,
    parse_personas,
)
from prism_core.types import Persona
from prism_core.utils.plain_yaml import MAX_YAML_CHARACTERS

LIBRARY = load_personas()
BASE = "name: bard\ntexts:\n  min: You are a bard.\n"


def persona(name: str = "bard", text: str = "You are a bard.") -> Persona:
    return make_persona({"name": name, "texts": {"min": text}})


def test_yaml_round_trips_whatever_a_text_holds() -> None:
    text = "yes: 'no' \"maybe\"\n- item\n*bold* & more: #1 {x} \U0001f3ad שלום 你好 \t|"
    awkward = persona(text=text)
    assert parse_persona(dump_persona(awkward)) == awkward
    everything = [*LIBRARY.values(), awkward]
    assert parse_personas(dump_personas(everything)) == everything


def test_scalars_stay_what_they_look_like() -> None:
    read = parse_persona("name: yes\ntitle: 007\ndomain: 2024-13-45\ntexts: {min: no, short: ~}")
    assert (read.name, read.title, read.domain) == ("yes", "007", "2024-13-45")
    assert read.texts == {"min": "no"}


BOMB = "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\n"
REFUSED = [
    (BOMB, "anchor '&a'"),
    ("name: *x", "alias '*x'"),
    ("name: &x bard\ntexts: {min: hi}", "anchor '&x'"),
    ("name: !!python/object/apply:os.system [ls]", "tag"),
    ("name: !!int 12", "tag"),
    ("[" * 30_000, "levels deep"),
    ("- " * 5_000, "levels deep"),
    (BASE + "name: again", "'name' a second time"),
    ("? [a]\n: b", "not a text"),
    ("name: 'x", "not valid YAML"),
    ("\tname: x", "not valid YAML"),
    ("", "empty"),
    ("---\n---\n", "empty"),
    ("just text", "mapping"),
    ("- a\n- b", "mapping"),
    (BASE + "---\n" + BASE, "two personas named 'bard'"),
    ("---\n".join(BASE.replace("bard", f"b{i}") for i in range(101)), "at most 100"),
    ("x" * (MAX_YAML_CHARACTERS + 1), "at most 400,000"),
    ("name: 1" + "1" * 5000, "at most 200"),
    ("name: Bad Name\ntexts: {min: hi}", "'Bad Name'"),
    ("name: bard\nkind: wizard\ntexts: {min: hi}", "'wizard'"),
    ("name: bard\ntexts: {tiny: hi}", "'tiny'"),
    ("name: bard\ntexts: {min: [hi]}", "'min' is not a text"),
    ("name: bard\ntexts: {}", "no text"),
    ("name: bard\ntexts: hi", "'texts' must map"),
    ("name: bard\nsubtopics: hi\ntexts: {min: hi}", "list of short texts"),
    ("name: bard\x07\ntexts: {min: hi}", "U+0007"),
    ('name: bard\ntexts: {min: "hi\\e[31m"}', "U+001B"),
    ('name: bard\ntitle: "two\\nlines"\ntexts: {min: hi}', "U+000A"),
    ("name: bard\ntexts: {min: 'safe\u202etxt.exe'}", "U+202E"),
    ('name: bard\nsubtopics: ["a\\0b"]\ntexts: {min: hi}', "U+0000"),
]


@pytest.mark.parametrize(("text", "quoted"), REFUSED, ids=range(len(REFUSED)))
def test_anything_but_plain_personas_is_refused_in_one_sentence(text: str, quoted: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_personas(text)
    assert quoted in str(caught.value)
    assert len(str(caught.value)) < 300
    assert "\n" not in str(caught.value)


def test_joiners_of_scripts_and_emoji_are_kept() -> None:
    family = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
    assert persona(text=family).texts["min"] == family


def test_exactly_one_persona_where_one_is_expected() -> None:
    with pytest.raises(InputError, match="holds 2 personas"):
        parse_persona(BASE + "---\n" + BASE.replace("bard", "poet"))


def test_own_personas_never_hide_shipped_ones() -> None:
    math = dump_persona(LIBRARY["math"])
    result = import_yaml({}, [math, BASE], LIBRARY)
    assert result.renamed == (("math", "math_copy"),)
    assert result.added == ("bard",)
    own = read_own(result.stored, LIBRARY)
    assert list(own) == ["math_copy", "bard"]
    assert own["math_copy"].texts == LIBRARY["math"].texts
    again = import_yaml(own, [BASE.replace("a bard", "an old bard")], LIBRARY)
    assert again.replaced == ("bard",)
    assert again.stored[1]["texts"] == {"min": "You are an old bard."}
    assert own["bard"].texts == {"min": "You are a bard."}, "the old value is untouched"


def test_one_bad_file_imports_nothing() -> None:
    with pytest.raises(InputError, match="'Bad'"):
        import_yaml({}, [BASE, "name: Bad\ntexts: {min: hi}"], LIBRARY)


def test_keep_refuses_taken_names_and_replaces_in_place() -> None:
    own = {p.name: p for p in (persona("a1"), persona("b1"), persona("c1"))}
    with pytest.raises(InputError, match="'math_copy' is free"):
        keep(own, persona("math"), LIBRARY)
    with pytest.raises(InputError, match="already have a persona named 'b1'"):
        keep(own, persona("b1"), LIBRARY)
    with pytest.raises(InputError, match="already have a persona named 'c1'"):
        keep(own, persona("c1"), LIBRARY, editing="b1")
    assert list(keep(own, persona("new"), LIBRARY, editing="b1")) == ["a1", "new", "c1"]
    assert list(keep(own, persona("new"), LIBRARY)) == ["a1", "b1", "c1", "new"]
    full = {f"p{i}": persona(f"p{i}") for i in range(MAX_OWN_PERSONAS)}
    with pytest.raises(InputError, match="at most 100"):
        keep(full, persona("one_more"), LIBRARY)
    assert len(keep(full, persona("p0", "New."), LIBRARY, editing="p0")) == MAX_OWN_PERSONAS


def test_what_a_browser_kept_may_be_anything() -> None:
    good = write_own({"bard": persona()})
    assert list(read_own([*good, 3, {"name": "x"}, None, {"texts": []}], LIBRARY)) == ["bard"]
    assert read_own("rubbish", LIBRARY) == {}
    assert read_own([{**good[0], "name": "math"}], LIBRARY) == {}


def test_names() -> None:
    assert free_name("bard", ["math"]) == "bard"
    assert free_name("math", ["math"]) == "math_copy"
    assert free_name("math_copy", ["math", "math_copy"]) == "math_copy_2"
    long = "x" * 40
    assert free_name(long, [long]) == "x" * 35 + "_copy"
    assert name_from("Marine biologist (2nd)") == "marine_biologist_2nd"
    assert name_from("7 Dwarfs") == "dwarfs"
    assert name_from("你好") == ""


def test_uploads_are_read_and_deleted(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text(BASE, encoding="utf-8")
    assert read_uploads([good]) == [BASE]
    assert not good.exists()
    good.write_text(BASE, encoding="utf-8")
    bad.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match=r"'bad.yaml' is not text"):
        read_uploads([bad, good])
    assert not good.exists() and not bad.exists()
    good.write_bytes(b"x" * (4 * MAX_YAML_CHARACTERS + 1))
    with pytest.raises(InputError, match="1,600,001 bytes"):
        read_uploads([good])
    with pytest.raises(InputError, match="did not arrive"):
        read_uploads([tmp_path / "gone.yaml"])


def test_the_editor_gives_back_what_it_was_given() -> None:
    for known in LIBRARY.values():
        assert list(values_of(known)) == list(FIELDS)
        assert persona_of(*values_of(known).values()) == known
    values = values_of(None)
    with pytest.raises(InputError, match="title is empty"):
        persona_of(*values.values())
    values["title"] = "Sea captain"
    with pytest.raises(InputError, match="no text"):
        persona_of(*values.values())
    values["min"] = "You are a captain."
    made = persona_of(*values.values())
    assert (made.name, made.kind, made.domain) == ("sea_captain", "expert", "general questions")
    values["title"] = "你好"
    with pytest.raises(InputError, match="No name can be made"):
        persona_of(*values.values())


def test_a_sheet_shows_foreign_text_letter_by_letter() -> None:
    evil = persona(text="<script>alert(1)</script> ${x} `y`")
    shown = sheet(evil, True, lambda text: 12)
    assert "<script" not in shown
    assert "&lt;script&gt;alert(1)" in shown
    assert "${" not in shown and "`" not in shown
    assert "12 tokens" in shown
    assert "yours" in shown
    assert "6 words" not in shown
    assert "3 words" in sheet(evil, False, lambda text: None)


def test_tokens_are_counted_once_the_model_is_there(tokenizer: object) -> None:
    pool = ModelPool(lambda reference, progress: SimpleNamespace(tokenizer=tokenizer))  # type: ignore[arg-type,return-value]
    counter = TokenCounter(pool, "embedded")
    assert counter.count("You are a bard.") is None
    pool.get("embedded")
    # You| are| a| b|ard|.
    assert counter.count("You are a bard.") == 6
    assert counter.count("  ") == 0
    assert "<b>6</b> of about 5 tokens" in counts_line({"min": "You are a bard."}, counter.count)
    assert counts_line({"min": "x"}, lambda text: None) == ""


def handlers() -> PersonaHandlers:
    pool = ModelPool(lambda reference, progress: SimpleNamespace())  # type: ignore[arg-type,return-value]
    counter = TokenCounter(pool, "embedded")
    with gr.Blocks():
        own = gr.BrowserState([])
        return PersonaHandlers(own, build_panel(LIBRARY), build_editor(), LIBRARY, counter)


def test_listeners_leave_everything_as_it_was_after_a_mistake(tmp_path: Path) -> None:
    made = handlers()
    panel, editor = made.panel, made.editor
    saved = made.save([], "", *values_of(LIBRARY["math"]).values())
    assert set(saved) == {editor.status}, "neither kept nor closed"
    assert "belongs to a persona that comes with" in saved[editor.status]
    upload = tmp_path / "bomb.yaml"
    upload.write_text(BOMB)
    imported = made.import_files([], [str(upload)])
    assert set(imported) == {panel.status}, "no new list"
    assert "Nothing was imported. Line 1" in imported[panel.status]
    deleted = made.delete([], "math")
    assert set(deleted) == {panel.status}
    assert "Only your own" in deleted[panel.status]
    assert made.export_own([])[panel.payload] == ""


def test_listeners_copy_save_export_delete() -> None:
    made = handlers()
    own, panel, editor = made.own, made.panel, made.editor

    def opened(stored: object, picked: str, how: str) -> tuple[str, dict[str, str]]:
        updates = made.open_editor(how, stored, picked)
        assert updates[editor.box].visible
        assert how in updates[editor.heading].lower()
        values = {name: updates[editor.inputs[name]] for name in FIELDS}
        return updates[editor.editing], values

    editing, values = opened([], "math", "copy")
    assert (editing, values["name"]) == ("", "math_copy")
    stored = made.save([], editing, *values.values())[own]
    exported = made.export_one(stored, "math_copy")
    assert exported[panel.filename] == "math_copy.yaml"
    assert parse_persona(exported[panel.payload]).texts == LIBRARY["math"].texts
    editing, values = opened(stored, "math_copy", "edit")
    assert editing == "math_copy"
    values["title"] = "Number lover"
    stored = made.save(stored, editing, *values.values())[own]
    assert [p["title"] for p in stored] == ["Number lover"]
    assert made.show(stored, "math_copy")[panel.delete].visible
    assert not made.show(stored, "math")[panel.delete].visible
    assert made.delete(stored, "math_copy")[own] == []
