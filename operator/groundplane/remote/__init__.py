"""Composition functions that run elsewhere, called over gRPC: the Functions port."""
