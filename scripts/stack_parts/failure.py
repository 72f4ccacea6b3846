"""The one error of the stack scripts: what went wrong and what to do, for a person to read."""


class StackError(Exception):
    """Something a person has to act on; `hint` says how."""

    def __init__(self, what: str, hint: str = "") -> None:
        super().__init__(what)
        self.hint = hint
