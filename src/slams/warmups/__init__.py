"""Warm-up problems of Rozet and Louppe 2023 (arXiv 2306.10574): known dynamics, small networks."""
