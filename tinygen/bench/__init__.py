"""What `tinygen bench` measures: suites of cases, how one is measured, and what others have published."""
