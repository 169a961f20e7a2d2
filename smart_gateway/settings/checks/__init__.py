"""What no single key shows by itself: contradictions between sections, and rules that cannot be meant."""
