"""bmcore.report"""
