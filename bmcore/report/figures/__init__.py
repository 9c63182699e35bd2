"""The figures of the report, by matplotlib without a screen and without global state."""
