"""The management listener: health, and the explain page where it is switched on. Never proxied, never with data."""
