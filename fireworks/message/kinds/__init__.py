"""The kinds of columns: each wraps one kind of storage; `Column` documents what they do."""
