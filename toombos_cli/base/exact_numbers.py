"""Numbers of JSON that keep the digits they were written with: a float has no room for 1.10 or 17 digits."""

from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec


class ExactNumber(float):
    """A number with a fraction or an exponent: a float for every reader, and its own spelling for comparisons."""

    __slots__ = ("written",)
    written: str

    def __new__(cls, written: str) -> "ExactNumber":
        """Return the number that is written so. Raises ValueError."""
        number = super().__new__(cls, written)
        number.written = written
        return number


def encode_exact(value: Any) -> str:
    """Return the value as JSON, with every ExactNumber as it was written."""
    return encode_exact_bytes(value).decode()


def encode_exact_bytes(value: Any) -> bytes:
    """Return the value as JSON in UTF-8, with every ExactNumber as it was written."""
    return _ENCODER.encode(value)


def as_text(value: Any) -> str:
    """Return a text as it is, and any other value as JSON."""
    return value if isinstance(value, str) else encode_exact(value)


def is_number(value: Any) -> bool:
    """Report whether a value is a number of JSON; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def as_decimal(number: float) -> Decimal:
    """Return the number with all of its digits; infinity or 0 if its exponent is beyond every use."""
    try:
        return Decimal(number.written if isinstance(number, ExactNumber) else repr(number))
    except InvalidOperation:
        return Decimal(repr(float(number)))


def _written(number: Any) -> msgspec.Raw:
    if isinstance(number, ExactNumber):
        return msgspec.Raw(number.written.encode())
    raise TypeError(f"{type(number).__name__} is not a type of JSON")


_ENCODER = msgspec.json.Encoder(enc_hook=_written)
