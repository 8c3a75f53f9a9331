"""How soon an end is known, and what that costs: rules for the next look, side by side on one simulated platform."""
