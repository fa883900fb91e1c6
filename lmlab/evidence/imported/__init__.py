"""Anybody's results become a run: a csv, lm-eval's samples, inspect's logs."""
