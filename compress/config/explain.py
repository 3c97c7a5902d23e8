"""Descriptions of field types, and one-line messages of pydantic's validation errors."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic.fields import FieldInfo

from compress.config.errors import ConfigError, ConfigTypeError, UserError
from compress.config.fields import OneOf

if TYPE_CHECKING:
    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

SHOWN = 80  # characters of a refused value in a message
KINDS = {
    float: "a number",
    int: "an integer",
    str: "text",
    bool: "true or false",
    types.NoneType: "null",
}
# pydantic's errors of a value of the right type, with the constraint that each breaks.
OUT_OF_RANGE = {
    "greater_than": "gt",
    "greater_than_equal": "ge",
    "less_than": "lt",
    "less_than_equal": "le",
    "too_short": "min_length",
}


def shown(value: Any) -> str:
    """A value as quoted in an error message, cut to `SHOWN` characters."""
    words = repr(_lists(value))
    return words if len(words) <= SHOWN else f"{words[:SHOWN]}…"


def _lists(value: Any) -> Any:
    """Converts tuples to lists, as in a config."""
    return list(map(_lists, value)) if isinstance(value, tuple) else value


def kind_of(hint: Any, *, ranges: bool = False) -> str:
    """Description of a type, such as "a list (an integer each)"; ranges of numbers if asked."""
    bare, _ = _bare(hint)
    origin, inner = typing.get_origin(bare), typing.get_args(bare)
    if names := choices(hint):
        words = list(map(str, names))
        return ", ".join(words) if ranges else " or ".join(words)
    words = [kind_of(each, ranges=ranges) for each in inner if each is not ...]
    if _is_union(bare):
        return " or ".join(words)
    if origin is tuple:
        each = f"{words[0]} each" if inner[-1] is ... else ", ".join(words)
        return f"a list{'' if inner[-1] is ... else f' of {len(inner)}'} ({each})"
    if origin is dict:
        return f"a mapping ({words[1]} each)"
    article = "an" if bare.__name__[0] in "AEIOU" else "a"
    kind = KINDS.get(bare) or f"{article} {bare.__name__}"
    return f"{kind} {range_of(hint)}".rstrip() if ranges else kind


def range_of(hint: Any) -> str:
    """Description of a type's range, such as "in [0, 1)" or "> 0"; "" if it has none."""
    bounds = _bounds(hint)
    low, high = bounds.get("ge", bounds.get("gt")), bounds.get("le", bounds.get("lt"))
    if low is not None and high is not None:
        return f"in {'[' if 'ge' in bounds else '('}{low}, {high}{']' if 'le' in bounds else ')'}"
    if low is not None:
        return f"{'>=' if 'ge' in bounds else '>'} {low}"
    if high is not None:
        return f"{'<=' if 'le' in bounds else '<'} {high}"
    return ""


def choices(hint: Any) -> tuple[str, ...]:
    """The allowed names of a field; empty if it is not limited to names."""
    bare, metadata = _bare(hint)
    if typing.get_origin(bare) is Literal:
        return typing.get_args(bare)
    return next((mark.names for mark in metadata if isinstance(mark, OneOf)), ())


def explained(cls: type, given: Mapping[str, Any], error: ValidationError) -> UserError:
    """The one-line error of a settings class, from pydantic's error on the given values."""
    errors = error.errors(include_url=False)
    top = [each for each in errors if len(each["loc"]) == 1]
    for each in errors:
        if isinstance(own := each.get("ctx", {}).get("error"), UserError):
            return own
    hints = typing.get_type_hints(cls, include_extras=True)
    if unknown := [each["loc"][0] for each in top if _is(each, "unexpected_keyword_argument")]:
        fields = ", ".join(field.name for field in dataclasses.fields(cls)) or "none"
        names = ", ".join(map(str, unknown))
        return ConfigTypeError(f"{cls.__name__} has no setting {names}; its settings: {fields}")
    if missing := [each["loc"][0] for each in top if _is(each, "missing")]:
        return ConfigTypeError(f"{cls.__name__} lacks a value for {', '.join(map(str, missing))}")
    name = str(errors[0]["loc"][0])
    field = _Place(f"{cls.__name__}.{name}", hints[name], given[name])
    return _wrong(field, [each for each in errors if each["loc"][0] == name])


@dataclasses.dataclass(frozen=True)
class _Place:
    """A value inside a field."""

    path: str
    hint: Any
    value: Any

    def at(self, location: Sequence[Any]) -> _Place:
        """The value at pydantic's location, or at the first union or missing item before it."""
        hint, _ = _bare(self.hint)
        if not location or _is_union(hint):
            return self
        key, *rest = location
        arguments = typing.get_args(hint)
        if typing.get_origin(hint) is dict:
            if rest[-1:] == ["[key]"]:
                return _Place(f"{self.path}, its key", arguments[0], key)
            return _Place(f"{self.path}.{key}", arguments[1], self.value[key]).at(rest)
        if key >= len(self.value):
            return self
        inner = arguments[0] if arguments[-1] is ... else arguments[key]
        return _Place(f"{self.path}[{key}]", inner, self.value[key]).at(rest)


def _wrong(field: _Place, errors: Sequence[ErrorDetails]) -> UserError:
    """The error of one field; for a union, that of the closest option."""
    placed = [(each, field.at(each["loc"][1:])) for each in errors]
    for each, place in placed:
        if _is(each, "finite_number") or (_is(each, "float_type") and _is_whole(each["input"])):
            words = range_of(place.hint) or "finite"
            return ConfigError(f"{place.path} must be {words}, got {shown(each['input'])}")
    for each, place in placed:
        # A list of items that are all refused is too short as well, to pydantic.
        refused = _is(each, "too_short") and len(errors) > 1
        if each["type"] in OUT_OF_RANGE and not refused:
            words = _range_words(place.hint, OUT_OF_RANGE[each["type"]])
            return ConfigError(f"{place.path} must be {words}, got {shown(place.value)}")
    for each, place in placed:
        if _is(each, "literal_error"):
            names = [str(name) for name in choices(place.hint) or ()]
            words = f"one of {', '.join(names)}" if names else kind_of(place.hint, ranges=True)
            got = place.value if isinstance(place.value, str) else shown(place.value)
            return ConfigError(f"{place.path} must be {words}; got {got[:SHOWN]}")
    _, place = placed[0]
    return ConfigTypeError(f"{place.path} must be {kind_of(place.hint)}, got {shown(place.value)}")


def _range_words(hint: Any, bound: str) -> str:
    """The range that a value violates, if one option of a type has it; else the whole type."""
    bare, _ = _bare(hint)
    if bound == "min_length":
        options = typing.get_args(bare) if _is_union(bare) else (hint,)
        (least,) = {_bounds(each)[bound] for each in options if bound in _bounds(each)}
        return f"a list of {'one' if least == 1 else least} or more"
    if not _is_union(bare):
        return range_of(hint)
    ranges = [range_of(each) for each in typing.get_args(bare) if bound in _bounds(each)]
    if len(ranges) != 1:
        return kind_of(hint, ranges=True)
    return f"{ranges[0]} or null" if types.NoneType in typing.get_args(bare) else ranges[0]


def _bare(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    """A type without its annotations, and these."""
    if typing.get_origin(hint) is Annotated:
        return hint.__origin__, hint.__metadata__
    return hint, ()


def _bounds(hint: Any) -> dict[str, Any]:
    """Bounds of a number from `pydantic.Field`."""
    fields = (mark for mark in _bare(hint)[1] if isinstance(mark, FieldInfo))
    marks = (mark for field in fields for mark in field.metadata)
    known = (mark for mark in marks if dataclasses.is_dataclass(mark))
    return {f.name: getattr(mark, f.name) for mark in known for f in dataclasses.fields(mark)}


def _is_union(hint: Any) -> bool:
    return typing.get_origin(hint) in (typing.Union, types.UnionType)


def _is(error: ErrorDetails, kind: str) -> bool:
    return error["type"] == kind


def _is_whole(value: Any) -> bool:
    """Whether a value is an integer, which a float field refuses only for its size."""
    return isinstance(value, int) and not isinstance(value, bool)
