"""Reconcilers: gather facts through the ports, ask the core, do as told.  Level-triggered and idempotent."""
