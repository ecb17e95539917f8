"""What to buy, and when."""
