"""A whole cluster of real processes, driven from outside by clients that others wrote."""
