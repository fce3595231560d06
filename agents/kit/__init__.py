"""What every controller is made of: informers, indexers, work queues, leader election, events."""
