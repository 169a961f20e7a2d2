"""Operations: the gateway's list, those that the policy opens, their arguments, and how their answers are checked. Spec: semantics 8."""
