"""The one worker process and what it does: the models, and results that take long."""
