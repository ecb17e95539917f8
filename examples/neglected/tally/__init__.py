"""Stock keeping for a small workshop."""
