"""What files are wrapped in: compression, archives, and pages sent in place of a file."""
