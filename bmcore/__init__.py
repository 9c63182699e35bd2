"""bmcore: brain metastases on MRI, from the four sequences to the likely primary.

Research software, not a medical device. The map of the rooms is in ``docs/architecture.md``.
Nothing happens at import: no net is loaded, no folder is made, no environment is read.
"""

__version__ = "0.1.0"
