"""What a strategy may use of the host."""
