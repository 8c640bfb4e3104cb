"""Order forms: a subset of JSON Schema 2020-12, checked, filled, shown as HTML, priced and put into words.

`schema` says what a form may be, `values` judges what was entered, `form` makes fields and reads them back.
Nothing here touches the database. All but `check_schema` expect a schema in which it found no problem.

Our own annotations beside the standard's keywords: `x-price` (per month: of a choice, of one unit of a
number, of a ticked box), `x-unit` and `x-pattern-message`.
"""

from core.parameters.form import Choice, Field, fields, parse, problems
from core.parameters.schema import Problem, check_schema
from core.parameters.values import PriceLine, clean, defaults, described, fill, price_lines, validate

__all__ = [
    "Choice",
    "Field",
    "PriceLine",
    "Problem",
    "check_schema",
    "clean",
    "defaults",
    "described",
    "fields",
    "fill",
    "parse",
    "price_lines",
    "problems",
    "validate",
]
