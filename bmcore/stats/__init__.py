"""Pure statistics on arrays: agreement, classification, segmentation, the patient bootstrap.

Arrays go in, ``estimate.Estimate(value, low, high, n, method)`` comes out. This room imports only
numpy and scipy, so any other room may use it.
"""
