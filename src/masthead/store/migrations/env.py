"""Alembic's entry: runs the versions on the connection that `store.migrate` hands over."""

from alembic import context

from masthead.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
    transaction_per_migration=False,
    render_as_batch=True,
)
context.run_migrations()
