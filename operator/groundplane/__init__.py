"""Groundplane: Crossplane-style compositions, reconciled against AWS, in one Python process."""

__version__ = "0.1.0"
