"""Run by Alembic: applies the revisions on the connection that `storage.database` hands over.

The caller owns the transaction, so a migration that is killed half-way leaves nothing behind.
"""

from alembic import context

from autoresearch_rl.storage.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,  # SQLite cannot alter a table in place
)
context.run_migrations()
