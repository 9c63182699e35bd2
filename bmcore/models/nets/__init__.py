"""The nets as torch modules. Only the builders import these files: each needs torch."""
