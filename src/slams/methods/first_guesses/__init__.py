"""Every first guess that comes with this package, one module each: its specification."""
