"""The pure core: decisions as functions of plain values. No store, no web, no clock, no randomness of its own."""
