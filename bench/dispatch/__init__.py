"""Which way of choosing clusters ends a batch soonest: a simulated platform, a bound, and the rules side by side.

The product's own pure functions run in it unchanged. Run it with `python -m bench.dispatch`.
"""
