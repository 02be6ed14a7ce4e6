"""How fast it is, as ratios measured side by side in one run: figures of different machines,
or of one machine at different times, say nothing about each other. Nothing is asserted.

`python -m tests.bench` runs everything in about two minutes; names pick some.
"""
