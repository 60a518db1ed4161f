"""What limits of flash cost in cycles."""
