"""Whether one switchable network is as accurate as independent ones."""
