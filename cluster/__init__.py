"""Where jobs run: simulated, live on Ray, and the agent on each node."""
