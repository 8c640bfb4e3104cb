"""Money: decimal amounts of a currency, read, rounded and written; no floats, none without its currency."""

import datetime as dt
import re
from decimal import ROUND_HALF_EVEN, Context, Decimal
from functools import cache

from babel import Locale, UnknownLocaleError
from babel.core import get_global
from babel.numbers import format_currency, get_currency_precision

MAX_DIGITS = 12  # before the point
_PLAIN = re.compile(r"[0-9]+(\.[0-9]+)?")
_EXACT = Context(prec=60, rounding=ROUND_HALF_EVEN)
_CENTS = re.compile(r"\.0+")


@cache
def _currencies() -> frozenset[str]:
    """Give the codes that are legal tender somewhere, at the time this version of the data was made."""
    return frozenset(
        code
        for used in get_global("territory_currencies").values()
        for code, _start, end, tender in used
        if tender and (end is None or dt.date(*end) > dt.datetime.now(tz=dt.UTC).date())
    )


def is_currency(code: object) -> bool:
    """Say whether `code` is the ISO 4217 code of a currency in use, such as `USD`."""
    return isinstance(code, str) and code in _currencies()


def minor_units(currency: str) -> int:
    """Give the number of decimals of a currency: 2 for USD, 0 for JPY, 3 for KWD."""
    return int(get_currency_precision(currency))


def quantize(amount: Decimal, currency: str) -> Decimal:
    """Round `amount` to the minor units of `currency`, halves to the even neighbor.

    Raises:
        ValueError: where `amount` is not finite or has more than 40 digits.

    """
    if not amount.is_finite() or amount.adjusted() > 40:  # noqa: PLR2004 - far above any amount, far below harm
        raise ValueError(f"{amount} is not an amount")
    return amount.quantize(Decimal(1).scaleb(-minor_units(currency)), context=_EXACT)


def format_amount(
    amount: Decimal, currency: str, locale: str = "en_US", *, short: bool = False, exact: bool = False
) -> str:
    """Write `amount` for people: "$38.00".

    Args:
        amount: a finite decimal.
        currency: its ISO 4217 code.
        locale: how it is written; one that is not known is written as in en_US.
        short: leave out the decimals of a whole amount: "$38".
        exact: keep decimals beyond the minor units, for the price of one unit: "$0.0125".

    Raises:
        ValueError: where `amount` is no amount.

    """
    rounded = quantize(amount, currency)
    if exact and rounded != amount:
        return format_currency(amount, currency, locale=_locale(locale), decimal_quantization=False)
    if short and rounded == rounded.to_integral_value():
        pattern = _CENTS.sub("", _locale(locale).currency_formats["standard"].pattern)
        return format_currency(rounded, currency, pattern, locale=_locale(locale), currency_digits=False)
    return format_currency(rounded, currency, locale=_locale(locale))


def _locale(name: str) -> Locale:
    try:
        return Locale.parse(name)
    except (UnknownLocaleError, ValueError):
        return Locale("en", "US")


def parse_amount(value: object, currency: str) -> Decimal:
    """Read an amount that somebody typed or sent: text, a whole number, or a decimal, of 0 or more.

    Text has digits and at most one point, no grouping and no exponent. A float counts as the shortest text
    that stands for it: what binary arithmetic leaves over (0.1 + 0.2) has too many decimals and is refused.

    Returns:
        The amount with exactly the minor units of `currency`.

    Raises:
        ValueError: with a sentence for people.

    """
    if not is_currency(currency):
        raise ValueError("There is no such currency")
    text = _text(value)
    if text.startswith("-"):
        raise ValueError("Enter an amount of 0 or more")
    if not _PLAIN.fullmatch(text):
        raise ValueError("Enter an amount such as 1250.00, in digits and without signs")
    whole, _point, decimals = text.partition(".")
    if len(whole.lstrip("0")) > MAX_DIGITS:
        raise ValueError(f"Enter an amount of at most {MAX_DIGITS} digits before the point")
    places = minor_units(currency)
    if len(decimals.rstrip("0")) > places:
        raise ValueError(
            f"Enter an amount with at most {places} decimals" if places else "Enter an amount without decimals"
        )
    return quantize(Decimal(text), currency)


def _text(value: object) -> str:
    """Give `value` as plain digits, or an empty text where it cannot be an amount."""
    if isinstance(value, str):
        return value.strip() if len(value) <= 60 else ""  # noqa: PLR2004 - longer than any amount
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return ""
    number = value if isinstance(value, Decimal) else Decimal(value if isinstance(value, int) else repr(value))
    if not number.is_finite() or not -MAX_DIGITS < number.adjusted() <= 2 * MAX_DIGITS:
        return "" if not number.is_zero() or number.is_signed() else "0"
    return f"{number:f}"
