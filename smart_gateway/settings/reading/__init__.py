"""From files and environment to one tree that knows where everything was written."""
