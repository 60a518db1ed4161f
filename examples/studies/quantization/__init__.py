"""What recipes of few bits cost in accuracy, and what they save."""
