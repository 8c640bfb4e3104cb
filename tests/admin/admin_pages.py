"""Reads a page of the admin as a browser does: what its form would send, and what it says."""

from html.parser import HTMLParser


class _Form(HTMLParser):
    """Collects what the page's main form would send unchanged."""

    def __init__(self):
        super().__init__()
        self.inside, self.sent, self._select, self._area = False, {}, None, None

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if tag == "form":
            self.inside = (attrs.get("id") or "").endswith("_form")
        name = attrs.get("name")
        if not self.inside or (not name and tag != "option"):
            return
        if tag == "input" and attrs.get("type") in {"checkbox", "radio"}:
            if "checked" in attrs:
                self.sent.setdefault(name, []).append(attrs.get("value", "on"))
        elif tag == "input" and attrs.get("type") not in {"submit", "file"}:
            self.sent.setdefault(name, []).append(attrs.get("value", ""))
        elif tag == "select":
            self._select, self.sent[name] = name, [""]
        elif tag == "option" and self._select and "selected" in attrs:
            self.sent[self._select] = [attrs.get("value", "")]
        elif tag == "textarea":
            self._area, self.sent[name] = name, [""]

    def handle_endtag(self, tag):
        if tag == "form":
            self.inside = False
        elif tag == "select":
            self._select = None
        elif tag == "textarea":
            self._area = None

    def handle_data(self, data):
        if self._area:
            self.sent[self._area][0] += data


def sent_by(response):
    """Give what the page's form would send if nobody touched it."""
    form = _Form()
    form.feed(response.content.decode())
    # A browser drops the line break that follows the opening tag of a text area.
    return {
        name: [value.removeprefix("\r\n").removeprefix("\n") for value in values] for name, values in form.sent.items()
    }


def submit(client, url, **changes):
    """Open the page, change fields by name, press Save; give the answer that follows."""
    page = client.get(url)
    assert page.status_code == 200, page.status_code
    return client.post(url, {**sent_by(page), **changes}, follow=True)


def add_row(sent, prefix, **fields):
    """Press “Add another” below an inline and fill in its fields; give what would be sent."""
    number = int(sent[f"{prefix}-TOTAL_FORMS"][0])
    empty = {
        name.replace("__prefix__", str(number)): values
        for name, values in sent.items()
        if name.startswith(f"{prefix}-__prefix__")
    }
    typed = {f"{prefix}-{number}-{name}": value for name, value in fields.items()}
    return {**sent, **empty, **typed, f"{prefix}-TOTAL_FORMS": [str(number + 1)]}


def said(response):
    """Give all messages that the page shows above its content, as one text."""
    return " ".join(str(message) for message in response.context["messages"])


def errors_of(response):
    """Give the errors of the page's form, by field."""
    return {name: " ".join(texts) for name, texts in response.context["adminform"].form.errors.items()}
