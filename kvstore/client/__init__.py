"""The async client: the one door into the store for everybody outside `kvstore`."""
