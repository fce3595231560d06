"""What each resource adds to the common way of the handlers."""
