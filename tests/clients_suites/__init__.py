"""The test suites of libraries that use us, run on our backend and on their own: ``make clients``."""
