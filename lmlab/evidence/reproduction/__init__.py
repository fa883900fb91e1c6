"""The kit from which another person makes the same numbers."""
