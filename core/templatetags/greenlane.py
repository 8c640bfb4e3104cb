"""What our templates need beside Django's own tags: icons, money, durations, initials and safe Markdown."""

from decimal import Decimal, InvalidOperation
from functools import lru_cache

import nh3
from django import template
from django.templatetags.static import static
from django.utils.html import format_html, linebreaks
from django.utils.safestring import SafeString, mark_safe
from markdown_it import MarkdownIt
from markdown_it.token import Token

from core import money as amounts

register = template.Library()

MAX_MARKDOWN = 50_000  # characters; longer text is shown as it was written
_TAGS = {
    *(
        "p",
        "h3",
        "h4",
        "h5",
        "h6",
        "ul",
        "ol",
        "li",
        "blockquote",
        "pre",
        "code",
        "em",
        "strong",
        "a",
        "hr",
        "br",
    ),
    *("table", "thead", "tbody", "tr", "th", "td"),
}
_SCHEMES = {"http", "https", "mailto"}
_UNITS = ((86_400, "day"), (3_600, "hour"), (60, "minute"))


def _only_our_schemes(url: str) -> bool:
    """Take full addresses alone: a relative one would mean something else on each page that shows it."""
    return url.partition(":")[0].lower() in _SCHEMES


_MARKDOWN = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")
_MARKDOWN.validateLink = _only_our_schemes  # type: ignore[method-assign]  # the documented way to set it


def _put_below_the_page(tokens: list[Token]) -> None:
    """Number the headings from h3 without a gap: the page has one h1, and h2 for its sections."""
    headings = [token for token in tokens if token.type in {"heading_open", "heading_close"}]
    levels = sorted({token.tag for token in headings})
    for token in headings:
        token.tag = f"h{min(6, levels.index(token.tag) + 3)}"


@register.filter
def markdown(text: str | None) -> SafeString:
    """Give the HTML of CommonMark text with tables. Whoever wrote it, the result can run and load nothing."""
    if not text:
        return SafeString("")
    if len(text) > MAX_MARKDOWN:
        return mark_safe(linebreaks(text, autoescape=True))  # noqa: S308 - escaped by that very call
    return _rendered(text)


@lru_cache(maxsize=64)
def _rendered(text: str) -> SafeString:
    """Render once: the texts of a published version never change, and long ones take milliseconds."""
    tokens = _MARKDOWN.parse(text)
    _put_below_the_page(tokens)
    html = _MARKDOWN.renderer.render(tokens, _MARKDOWN.options, {})
    safe = nh3.clean(
        html,
        tags=_TAGS,
        attributes={"a": {"href", "title"}},
        url_schemes=_SCHEMES,
        link_rel="noopener nofollow",
        url_relative="deny",
    )
    return mark_safe(safe)  # noqa: S308 - this is what the sanitizer is for


@register.filter
def money(amount: Decimal | str | int | None, currency: str) -> str:
    """Write an amount in its currency: `{{ 38|money:"USD" }}` is "$38.00"; nothing for no amount."""
    if amount is None or amount == "":
        return ""
    try:
        return amounts.format_amount(Decimal(str(amount)), str(currency))
    except (InvalidOperation, ValueError):
        return str(amount)


@register.filter
def duration(seconds: float | None) -> str:
    """Write seconds as people say them, in the largest unit that fits: "38 seconds", "2 minutes"."""
    if seconds is None:
        return ""
    size, unit = next((step for step in _UNITS if seconds >= step[0] * 1.5), (1, "second"))
    count = max(1, round(seconds / size))
    return f"{count} {unit}" if count == 1 else f"{count} {unit}s"


@register.filter
def initials(name: object) -> str:
    """Give at most two letters that stand for a person: of "Li Wei" it is "LW"."""
    words = str(name or "").split()
    picked = words[:1] + words[1:][-1:]
    return "".join(word[0] for word in picked).upper() or "?"


@register.simple_tag
def icon(name: str) -> SafeString:
    """Draw an icon of `static/icons.svg`; it is decoration, so the words beside it must say the same."""
    return format_html('<svg class="ic" aria-hidden="true"><use href="{}#{}"/></svg>', static("icons.svg"), name)
