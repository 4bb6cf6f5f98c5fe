"""What goes wrong in practice, checked: each check says what it found, and the command that mends it.

Nothing here is needed to import this package but Python itself: the checks import what they look at.
"""
