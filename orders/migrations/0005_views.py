"""v_steps: a step belongs to the order that caused its run, which is not always the one that made the service."""

from django.db import migrations

VIEW = """
CREATE OR REPLACE VIEW v_steps AS
    SELECT step.id, {order_id} AS order_id, step.seq, step.kind, step.state, step.attempt, step.lease_token,
           step.lease_expires_at, step.heartbeat_at, step.idempotency_key, step.external_ref
    FROM provisioning_step AS step
    JOIN provisioning_run AS run ON run.id = step.run_id
    JOIN provisioning_serviceinstance AS instance ON instance.id = run.instance_id;
"""


class Migration(migrations.Migration):
    """v_steps."""

    dependencies = [("orders", "0004_actions"), ("provisioning", "0003_engine")]
    operations = [
        migrations.RunSQL(
            VIEW.format(order_id="coalesce(run.order_ref, instance.order_ref)"),
            VIEW.format(order_id="instance.order_ref"),
        )
    ]
