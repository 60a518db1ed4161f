"""How sums become codes: each form is checked for every sum that can occur."""
