"""The model card, as data and in Markdown."""
