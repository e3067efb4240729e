"""Turns events into reconciles: watching, the queue, the engine, metrics, logs."""
