"""Every method of assimilation that comes with this package, one module each: its specification.

What a method computes is in `slams.assimilators`, which is imported when the method is built.
Modules here import nothing heavy: checks of recipes and the report read them.
"""
