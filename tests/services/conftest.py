"""Fixtures of the services' tests."""

from s3_bucket import bucket, server

__all__ = ["bucket", "server"]
