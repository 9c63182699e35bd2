"""``python -m bmcore``."""

from bmcore.cli import main

if __name__ == "__main__":
    main()
