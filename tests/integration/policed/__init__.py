"""Generated policies, who asks under them and what they ask; and a judge of their own, written from docs/policies.md."""
