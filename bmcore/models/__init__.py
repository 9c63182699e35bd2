"""bmcore.models"""
