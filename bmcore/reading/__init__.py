"""bmcore.reading"""
