"""What people read about the stock."""
