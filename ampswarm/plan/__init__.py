"""How many machines a fleet needs, and with what values its stack is deployed: `ampswarm plan`. Pure."""
