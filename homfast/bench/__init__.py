"""Measurements behind ``homfast bench``: our calls beside the same calls of other libraries.

``cases`` holds the shapes, ``arithmetic`` dtypes and precisions, ``data`` the arrays, ``ours`` and
``peers`` the calls, ``expected`` what they must return, ``interleaved`` the measuring loop, and
``peak`` the roofs. ``layers``, ``networks``, ``training`` and ``invariance`` put them
together, and ``cli`` prints. ``operators`` does all of this for measurement operators, whose lines
are in the ``operators_*`` modules. Nothing here is imported by ``import homfast``.
"""
