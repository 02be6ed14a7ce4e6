"""How fast it is, beside a floor and a plain application in the same run: figures of different
machines, or of one machine at different times, say nothing about each other. Nothing is asserted.

`python -m tests.bench` runs everything (docs/performance.md).
"""
