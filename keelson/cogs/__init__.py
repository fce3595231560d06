"""Small parts that all shells share: tasks, logs, output. Pure rooms never import them."""
