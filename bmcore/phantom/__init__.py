"""bmcore.phantom"""
