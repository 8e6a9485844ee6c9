"""What happens around the replicas: arrivals, routing, clients, failures, scaling."""
