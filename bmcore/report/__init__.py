"""The validation dossier: what readers and models said, with intervals; PDF, HTML, CSV, JSON."""
