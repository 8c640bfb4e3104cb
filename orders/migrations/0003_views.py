"""The read-only views that operators and checks rely on (see docs/running.md)."""

from django.db import migrations

VIEWS = """
CREATE VIEW v_orders AS
    SELECT id, state, created_at, completed_at FROM orders_order;
CREATE VIEW v_steps AS
    SELECT step.id, instance.order_ref AS order_id, step.seq, step.kind, step.state, step.attempt, step.lease_token,
           step.lease_expires_at, step.heartbeat_at, step.idempotency_key, step.external_ref
    FROM provisioning_step AS step
    JOIN provisioning_run AS run ON run.id = step.run_id
    JOIN provisioning_serviceinstance AS instance ON instance.id = run.instance_id;
CREATE VIEW v_audit AS
    SELECT seal.seq, event.at, event.actor, event.name,
           event.subject_type || ':' || coalesce(event.subject_id::text, '') AS subject, seal.row_hash
    FROM core_event AS event LEFT JOIN core_eventseal AS seal ON seal.event_id = event.id;
"""


class Migration(migrations.Migration):
    """v_orders, v_steps, v_audit."""

    dependencies = [("orders", "0002_initial"), ("provisioning", "0002_initial"), ("core", "0002_initial")]
    operations = [migrations.RunSQL(VIEWS, "DROP VIEW v_audit; DROP VIEW v_steps; DROP VIEW v_orders")]
