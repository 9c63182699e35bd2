"""The database as a list of steps. ``bmcore.review.migrate`` runs them; a step never changes."""
