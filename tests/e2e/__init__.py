"""The whole path: real Locust, real central system, real sockets."""
