"""The dashboards' source: `testbed generate` writes `grafana/*.json` from it, with Python's standard library alone."""
