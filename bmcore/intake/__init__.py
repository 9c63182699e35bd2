"""bmcore.intake"""
