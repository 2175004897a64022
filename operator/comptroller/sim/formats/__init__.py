"""Demand files, one module per format. Each makes the same `Trace` out of its text."""
