"""Kinds: how the cells of a table's column become a column of a Message, and back."""
