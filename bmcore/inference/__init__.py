"""bmcore.inference"""
