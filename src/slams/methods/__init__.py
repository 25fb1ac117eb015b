"""Specifications of the assimilation methods of this package, one module per method.

The methods themselves are in `slams.assimilators`, which is imported when a method is built. These
modules import nothing heavy, because checks of recipes and the report read them.
"""
