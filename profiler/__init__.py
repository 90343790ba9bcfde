"""What jobs cost: device identity, runs under measurement, and the cost model learnt from them."""
