"""The thin shell: carries out what ``policy`` decided, over ASGI and HTTP."""
