"""The way to the server: requests, their pace, retries, and the API key."""
