"""What a model needs to be another one depending on how many threads trace it at one time."""

from __future__ import annotations

CROWD = """
import threading
import time

inside, lock = 0, threading.Lock()

def crowd():
    "How many trace it at this time."
    global inside
    with lock:
        inside += 1
    time.sleep(0.5)
    seen = inside
    time.sleep(0.5)
    with lock:
        inside -= 1
    return seen
"""
