"""The sections of the settings, one module each: their keys, what cannot be meant of them, and what is built from them."""
