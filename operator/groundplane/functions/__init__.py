"""Composition functions that run in this process, one module each."""
