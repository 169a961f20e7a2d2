"""The boundary: the one value that narrows a search, admits a resource, meets policy and names the missing scope."""
