"""Lease tokens: each claim of a step draws a larger one, so a late writer is told from the current one."""

from django.db import migrations


class Migration(migrations.Migration):
    """The sequence of lease tokens, which are fencing tokens too."""

    initial = True
    operations = [
        migrations.RunSQL("CREATE SEQUENCE provisioning_lease", "DROP SEQUENCE provisioning_lease"),
    ]
