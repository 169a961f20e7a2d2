"""The answer under a plan: check and rebuild, links, capability documents, refusals. Pure."""
