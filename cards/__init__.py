"""What was made, in words and pictures, and where it went."""
