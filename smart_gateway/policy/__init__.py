"""The decision: ``authorize(request, principal, policy)`` answers Permit(plan) or Deny(causes, missing scopes)."""
