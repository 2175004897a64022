"""What Prometheus and Grafana get: the catalogue of metrics, the dashboard, the alert rules. All generated."""
