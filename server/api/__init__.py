"""The operator's HTTP API, a module for each kind of thing. With `server.admin`, all that knows FastAPI."""
