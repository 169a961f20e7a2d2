"""From settings to what runs."""
