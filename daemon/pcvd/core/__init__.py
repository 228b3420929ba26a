"""The pure core: what is decided and explained. No asyncio, no I/O, no JAX; it runs in the daemon and in
workers alike.
"""
