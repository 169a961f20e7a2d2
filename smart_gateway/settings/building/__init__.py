"""From all sections to what runs: the policy, the listeners, the snapshot."""
