"""How good what comes out is: samplers on problems whose front is known."""
