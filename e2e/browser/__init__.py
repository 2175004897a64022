"""A real headless Chromium for the tests of the operator's page, driven by its own protocol."""
