"""bmcore.stats"""
