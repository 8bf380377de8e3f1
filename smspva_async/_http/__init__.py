"""Requests to the server: sending, pace, retries, and removal of the API key."""
