"""What a back end calls its own work may be long: service brokers may say up to 10,000 characters."""

from django.db import migrations, models

# The view v_steps reads the column, and a column that a view reads cannot change its type.
CHANGE = """
DO $$
DECLARE
    definition text := pg_get_viewdef(to_regclass('v_steps'));
BEGIN
    IF definition IS NOT NULL THEN
        DROP VIEW v_steps;
    END IF;
    ALTER TABLE provisioning_step ALTER COLUMN external_ref TYPE {type};
    IF definition IS NOT NULL THEN
        EXECUTE 'CREATE VIEW v_steps AS ' || definition;
    END IF;
END $$
"""


class Migration(migrations.Migration):
    """Step.external_ref without a limit."""

    dependencies = [("provisioning", "0004_attempts_by_time")]
    operations = [
        migrations.RunSQL(
            CHANGE.format(type="text"),
            CHANGE.format(type="varchar(200) USING left(external_ref, 200)"),
            state_operations=[migrations.AlterField("step", "external_ref", models.TextField(blank=True))],
        )
    ]
