"""Who asks: presented, identified, admitted, counted, amended by hooks, invited to come again. Spec: semantics 2."""
