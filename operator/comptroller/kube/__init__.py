"""The Kubernetes API as this operator sees it: plain dicts, a table of resources, and one client."""
