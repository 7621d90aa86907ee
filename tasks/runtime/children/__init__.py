"""What the Python processes that a command starts load first: Python imports `sitecustomize` by itself."""
