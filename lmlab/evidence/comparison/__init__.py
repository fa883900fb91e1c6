"""Runs side by side: paired statistics, and where items fail."""
