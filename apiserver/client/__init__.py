"""The door into the API server: for agents, launcher and tests."""
