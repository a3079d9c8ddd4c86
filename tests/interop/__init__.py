"""Against an independent implementation of OCPP."""
