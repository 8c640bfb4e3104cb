"""docs/reliability.md names tests that exist."""

import ast
import re

from django.conf import settings

NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def test_every_test_that_the_page_names_exists():
    named = NAMED.findall((settings.BASE_DIR / "docs" / "reliability.md").read_text(encoding="utf-8"))
    assert len(named) > 30
    for path, test in named:
        tree = ast.parse((settings.BASE_DIR / path).read_text(encoding="utf-8"))
        assert test in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}, f"{path}::{test}"
