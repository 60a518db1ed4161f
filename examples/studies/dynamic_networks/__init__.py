"""Whether networks that decide beat static ones of the same cost."""
