"""
The one error that is a user's to mend.

Anything a user can get wrong (a path, a parameter, a damaged file) raises `UserError` with one
line that says what is wrong and what to do. The command line prints that line and exits with
code 2; a node logs it. Every other exception is a defect of this package.
"""


class UserError(Exception):
    """One line for the user: what is wrong and what to do about it."""
