"""Tests of what the library reports: OpenTelemetry and logs."""
