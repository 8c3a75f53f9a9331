"""Runs the migrations on the connection that `ledger.engine` hands over; it never opens a file itself."""

from alembic import context

from renderdrop.ledger.schema import metadata

context.configure(
    connection=context.config.attributes["connection"], target_metadata=metadata, transaction_per_migration=True
)
with context.begin_transaction():
    context.run_migrations()
