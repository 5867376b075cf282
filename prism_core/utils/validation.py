"""Values checked by their types, through pydantic, with errors in our own sentences.

A spec or a record is a plain frozen dataclass; its types say what is allowed, ranges included:
`rank: Annotated[int, Field(ge=1, le=128)] = 16`. Whoever reads one, checks one, draws a form for it
or prints its schema asks here, so that a limit stands in one place. The dataclass itself checks
nothing when it is made.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Annotated, Any, TypeVar, get_args, get_type_hints

from pydantic import BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError, SchemaValidator

from prism_core.errors import InputError

T = TypeVar("T")

_CONFIG = ConfigDict(
    extra="forbid",
    allow_inf_nan=False,
    revalidate_instances="always",
    use_attribute_docstrings=True,
)
_PLAIN_NUMBER = re.compile(r"\s*-?\d{1,12}(\.\d{0,12})?([eE]-?\d{1,2})?\s*")
_ALLOWED = {
    "int_type": "be a whole number",
    "int_parsing": "be a whole number",
    "int_from_float": "be a whole number",
    "float_type": "be a number",
    "float_parsing": "be a number",
    "finite_number": "be a number",
    "odd_number": "be a number in plain digits",
    "bool_type": "be true or false",
    "bool_parsing": "be true or false",
    "tuple_type": "be a list",
    "list_type": "be a list",
    "dict_type": "be an object",
    "mapping_type": "be an object",
    "dataclass_type": "be an object",
}
"""What a value must do, by pydantic's name of the error."""
_BOUNDS = ("gt", "ge", "lt", "le")
_OUTSIDE = (
    *("greater_than", "greater_than_equal", "less_than", "less_than_equal"),
    "finite_number",
)


def _plain_number(value: object) -> object:
    """Refuse `1_000`, `nan` and other texts that Python takes for numbers and people do not."""
    if isinstance(value, str) and not _PLAIN_NUMBER.fullmatch(value):
        raise PydanticCustomError("odd_number", "odd")
    return value


PLAIN = BeforeValidator(_plain_number)
"""Marks a number that YAML gives as text; it stands last, or the limits miss in the schema."""
MAX_SEED = 2**31 - 1
Seed = Annotated[int, Field(ge=0, le=MAX_SEED), PLAIN]


def check(value: T) -> T:
    """Return the dataclass with every field checked, nested dataclasses included.

    Raises:
        InputError: a field is of the wrong type or out of range; the message quotes it.
    """
    return build(type(value), value)


def build(kind: type[T], data: object, where: str = "", *, texts: bool = False) -> T:
    """Build a dataclass from plain data; fields that are left out take their defaults.

    Args:
        kind: the dataclass.
        data: what JSON gives, with lists for tuples; or an instance that is to be checked.
        where: what a message puts before the field's name.
        texts: whether numbers and truth values come as text, as in YAML. Else "3" is no number.

    Raises:
        InputError: a field is missing, unknown, of the wrong type or out of range.
    """
    plain_kind: type = kind
    lax, strict = _validators(plain_kind)
    try:
        built: T = (lax if texts else strict).validate_python([data])[0]
    except ValidationError as error:
        raise InputError(_sentence(error, kind, data, where)) from error
    return built


def check_name(name: str, most: int) -> str:
    """Return a name that a person gave, with its blanks tidied.

    Raises:
        InputError: it is empty, longer than `most`, or has characters that cannot be seen.
    """
    clean = " ".join(name.split())
    if not 0 < len(clean) <= most or not clean.isprintable():
        raise InputError(
            f"The name {clean[:60]!r} is not allowed: use 1 to {most} visible characters."
        )
    return clean


def range_of(kind: type, field: str) -> tuple[float, float]:
    """Return the least and the largest value of a field whose type has both limits."""
    bounds = _bounds(_hints(kind)[field])
    return bounds["ge"], bounds["le"]


def json_schema(kind: type) -> dict[str, Any]:
    """Return the JSON Schema of a dataclass, with its fields' docstrings as descriptions."""
    schema = _adapter(kind).json_schema()
    parts: dict[str, Any] = schema["$defs"]
    for part in parts.values():
        part["additionalProperties"] = False
    own = parts.pop(kind.__name__)
    return own | ({"$defs": parts} if parts else {})


@cache
def _adapter(kind: type) -> TypeAdapter[Any]:
    # pydantic takes a config for a dataclass only through a type around it.
    listed: Any = list.__class_getitem__(kind)
    return TypeAdapter(listed, config=_CONFIG)


@cache
def _validators(kind: type) -> tuple[SchemaValidator, SchemaValidator]:
    """Return what reads texts, and what is strict."""
    schema: Any = _adapter(kind).core_schema
    return SchemaValidator(schema), SchemaValidator(_with_strict_scalars(schema))


def _with_strict_scalars(schema: Any) -> Any:
    """Copy a schema so that only containers are converted: lists to tuples, objects to classes.

    pydantic's own strict mode refuses a list for a tuple, unless it reads the JSON text itself.
    """
    if isinstance(schema, list):
        return [_with_strict_scalars(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    copy = {key: _with_strict_scalars(one) for key, one in schema.items()}
    return copy | {"strict": True} if copy.get("type") in ("int", "float", "str", "bool") else copy


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)


def _sentence(error: ValidationError, kind: type, data: object, where: str) -> str:
    """Say in one sentence what is wrong and what is allowed instead."""
    found = error.errors(include_url=False)
    # A misspelt field is unknown and leaves another missing: the first says more.
    first = min(found, key=lambda one: one["type"] != "unexpected_keyword_argument")
    what, value, loc = first["type"], first["input"], first["loc"][1:]
    if loc and isinstance(loc[-1], str) and what in ("missing", "unexpected_keyword_argument"):
        path, hint = _follow(kind, data, where, loc[:-1])
        if what == "missing":
            return f"{path} lacks the field {loc[-1]!r}."
        names = (f.name for f in fields(next(_dataclasses_in(hint))))
        return f"{path} has no field {loc[-1][:60]!r}; it has {', '.join(names)}."
    path, hint = _follow(kind, data, where, loc)
    if what == "string_type":
        return f"{path} must be a text, not {_kind_of(value)}."
    if what in ("missing", "too_long"):  # of a tuple's parts
        path = path.rsplit("[", 1)[0] if what == "missing" else path
        last: Any = found[-1]["loc"][-1]
        length = last + 1 if what == "missing" else first["ctx"]["max_length"]
        allowed = f"be a list of {length}"
    else:
        allowed = _allowed(first, hint)
    verb = "is"
    if not where and path.endswith("]"):
        path, verb = path.rsplit("[", 1)[0], "holds"
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    return f"{path} {verb} {value if plain else repr(str(value)[:80])}; it must {allowed}."


def _allowed(error: Any, hint: Any) -> str:
    """Say what a value must do, in the words that follow "it must"."""
    bounds = _bounds(hint)
    if error["type"] == "literal_error":
        words = error["ctx"]["expected"].replace("'", "").replace(" or ", ", ")
        return f"be one of {words}"
    if bounds and error["type"] in _OUTSIDE:
        if "ge" in bounds and "le" in bounds:
            return f"lie between {bounds['ge']:,.10g} and {bounds['le']:,.10g}"
        words = {"gt": "above", "ge": "at least", "lt": "below", "le": "at most"}
        return "be " + " and ".join(f"{words[b]} {value:,.10g}" for b, value in bounds.items())
    return _ALLOWED.get(error["type"], f"be allowed ({error['msg']})")


def _follow(kind: type, data: Any, where: str, loc: tuple[int | str, ...]) -> tuple[str, Any]:
    """Return the path to a place in the data, for people, and the type that it has there."""
    path, hint = where, kind
    for part in loc:
        if isinstance(part, int):
            path, data = f"{path}[{part}]", data[part] if part < len(data) else None
        elif isinstance(data, dict) or is_dataclass(data):  # else pydantic names a union's member
            path = f"{path}.{part}" if path else part
            data = data.get(part) if isinstance(data, dict) else getattr(data, part)
            owners = [one for one in _dataclasses_in(hint) if part in _hints(one)]
            hint = _hints(owners[0])[part] if owners else hint
    return path or kind.__name__, hint


def _dataclasses_in(hint: Any) -> Iterator[type]:
    if isinstance(hint, type) and is_dataclass(hint):
        yield hint
    for part in get_args(hint):
        yield from _dataclasses_in(part)


def _bounds(hint: Any) -> dict[str, float]:
    """Return the limits somewhere in a type, by pydantic's name: `ge`, `gt`, `le`, `lt`."""
    found: dict[str, float] = {}
    for part in get_args(hint):
        found |= _bounds(part)
        for limit in part.metadata if isinstance(part, FieldInfo) else ():
            found |= {name: getattr(limit, name) for name in _BOUNDS if hasattr(limit, name)}
    return found


def _kind_of(value: object) -> str:
    kinds = {list: "a list", dict: "a mapping", type(None): "nothing", bool: "true or false"}
    return kinds.get(type(value), "a number")
