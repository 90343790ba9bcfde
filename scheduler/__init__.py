"""What next: events in, actions out. No clock, no threads, no I/O."""
