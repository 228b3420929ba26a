"""Builders: where builds are carried out. `protocol` is what the daemon relies on, `pool` the local worker
processes.
"""
