"""`tinygen bench`: suites of cases, their measurement, and published figures of other projects."""
