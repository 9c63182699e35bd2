"""Alembic's entry: runs the steps on the connection that ``bmcore.review.migrate`` hands over."""

from __future__ import annotations

from alembic import context

from bmcore.review.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
