"""The wire of OCPP 1.6-J, sans-IO: no socket, no clock, no event loop."""
