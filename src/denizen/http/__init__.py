"""What all routes share: problems, the route class, the gate, and the service's own pages."""
