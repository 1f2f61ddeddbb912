"""The folder of an experiment and its database: layout, schema, connections, ownership.

Standard library only, so that ``fireworks list`` and ``fireworks show`` start at once.
"""
