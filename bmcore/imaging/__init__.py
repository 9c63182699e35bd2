"""bmcore.imaging"""
