"""Benchmarks: a reference implementation as research code is usually written, and measurements of the package's code against it."""
