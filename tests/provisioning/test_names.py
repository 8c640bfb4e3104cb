"""Names at the back ends."""

import re
from uuid import uuid4

from hypothesis import given
from hypothesis import strategies as st

from provisioning.connectors.names import name_for


@given(st.text(max_size=80), st.uuids(), st.sampled_from("_-"))
def test_a_name_is_short_safe_and_ends_with_the_instances_id(text, instance_id, separator):
    name = name_for(text, instance_id, separator=separator)
    assert re.fullmatch(rf"[a-z][a-z0-9{separator}]*{separator}[0-9a-f]{{8}}", name)
    assert len(name.encode()) <= 63
    assert not name.startswith("pg_")
    assert name == name_for(text, instance_id, separator=separator)


def test_a_name_is_recognized_by_people():
    instance_id = uuid4()
    assert name_for("Campaign DB", instance_id) == f"campaign_db_{instance_id.hex[:8]}"
