"""Order numbers: what people say on the phone."""

from django.db import migrations


class Migration(migrations.Migration):
    """The sequence that the table's default draws from."""

    initial = True
    operations = [
        migrations.RunSQL("CREATE SEQUENCE orders_number START 1001", "DROP SEQUENCE orders_number"),
    ]
