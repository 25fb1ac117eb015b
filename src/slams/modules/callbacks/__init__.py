"""Callbacks of training and evaluation, one concept per module."""
