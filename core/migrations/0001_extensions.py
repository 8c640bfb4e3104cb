"""What PostgreSQL has to bring; the owner of a database may install these, they are trusted."""

from django.contrib.postgres.operations import BtreeGistExtension, TrigramExtension
from django.db import migrations


class Migration(migrations.Migration):
    """Trigrams for typing errors, GiST for ranges that may not overlap."""

    initial = True
    operations = [TrigramExtension(), BtreeGistExtension()]
