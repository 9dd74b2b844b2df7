"""What keeps `serve` from starting."""


class StackError(Exception):
    """`serve` cannot start as things are. The message is a sentence for the operator."""
