"""Alembic's script directory. Run by `storage.database`, never by an alembic.ini."""
