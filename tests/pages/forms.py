"""Reads a page as a browser without JavaScript does: its forms, and what each would send."""

from html.parser import HTMLParser


class Forms(HTMLParser):
    """The forms of a page by their action, each as what it would send now."""

    def __init__(self, html):
        super().__init__()
        self.by_action, self.texts = {}, []
        self.form = self.select = None
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        one = dict(attrs)
        if tag == "form":
            self.form = self.by_action.setdefault(one.get("action", ""), {})
        elif self.form is None or ("name" not in one and tag != "option"):
            return
        elif tag == "input" and (one["type"] not in {"radio", "checkbox"} or "checked" in one):
            self.form[one["name"]] = one.get("value") or ("on" if one["type"] == "checkbox" else "")
        elif tag == "select":
            self.select = one["name"]
        elif tag == "option" and self.select and ("selected" in one or self.select not in self.form):
            self.form[self.select] = one["value"]

    def handle_endtag(self, tag):
        if tag == "form":
            self.form = None
        elif tag == "select":
            self.select = None


def form_of(response, action):
    """Give what the form that goes to `action` would send."""
    return Forms(response.content.decode()).by_action[action]


def order_form(client, slug="database", **filled):
    """Open the page of an offering and give what its form would send, with `filled` typed in."""
    page = client.get(f"/catalog/{slug}/")
    return form_of(page, f"/catalog/{slug}/order/") | {"name": "campaign-db", "accept": "on"} | filled


def press(client, form, slug="database"):
    """Press “Order now”."""
    return client.post(f"/catalog/{slug}/order/", form)
