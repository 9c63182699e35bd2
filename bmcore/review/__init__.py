"""Readers, their votes and the database that keeps them. The only room with SQLAlchemy."""
