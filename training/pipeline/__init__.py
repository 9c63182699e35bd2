"""From a folder of cases to a finished bundle: audit, split, and the steps one after the other."""
