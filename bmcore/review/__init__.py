"""bmcore.review"""
