"""The provider's API: its calls, and the meaning of its answers."""
