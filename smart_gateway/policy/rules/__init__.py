"""What the rules of the policy make of one principal: scopes into bounds, limits, labels, elements. Spec: semantics 3 and 9."""
