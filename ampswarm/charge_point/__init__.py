"""One simulated charge point, sans-IO: time and randomness are arguments."""
