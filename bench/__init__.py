"""Measurements: each compares side by side, in one run, and prints figures. The product never imports this."""
