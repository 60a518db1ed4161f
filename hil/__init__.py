"""The acceptance suite: what a person runs the day a board arrives. See docs/first-light.md."""
