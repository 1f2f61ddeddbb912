"""What benchmarks/factory.py compares sweeps with."""
