"""Stricter readings of what stands in an address than a lenient parser gives."""

from typing import Any

from pydantic_core import PydanticCustomError

_UUID_LENGTH = 36


def canonical_uuid(value: Any) -> Any:
    """Refuse the other spellings of a UUID: ids are compared as strings by callers."""
    if isinstance(value, str) and len(value) != _UUID_LENGTH:
        raise PydanticCustomError("uuid_parsing", "This is not an id.")
    return value


def digits(value: Any) -> Any:
    """Refuse signs, blanks, underscores and fractions in a whole number."""
    if isinstance(value, str) and not (value.isascii() and value.isdecimal()):
        raise PydanticCustomError("int_parsing", "This is not a number.")
    return value
