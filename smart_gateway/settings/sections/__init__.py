"""The sections of the settings, one module each, over the kinds of values that they spell."""
