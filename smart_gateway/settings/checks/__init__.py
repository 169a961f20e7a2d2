"""What no section shows by itself: contradictions between them, and rules of the policy that cannot be meant."""
