"""Settings: one YAML file and the environment, checked whole, built into the gateway's parts."""
