"""The benchmarks of Procession against its peers: `python -m bench --help`, or `make bench`."""
