"""Comptroller decides, in dollars, which model answers which request, on which hardware, and makes it so."""

__version__ = "0.1.0"
