"""Packing texts that are much like each other."""

from __future__ import annotations

import json
import threading
import time

from hypothesis import given
from hypothesis import strategies as st

from pcvd import packing as packing_module
from pcvd.packing import Packing


@given(st.lists(st.binary(max_size=5000) | st.text(max_size=3000).map(str.encode)), st.integers(0, 5))
def test_what_was_packed_is_unpacked_whatever_was_learned_meanwhile(texts, when):
    packing, packed = Packing(), []
    for place, text in enumerate(texts):
        if place >= when:
            packing.learn(text)
        packed.append(packing.pack(text))
    assert [packing.unpack(one) for one in packed] == texts


def test_texts_that_are_much_like_what_was_learned_take_little():
    def text(number):
        digests = {f"stage {n}": {"serial": f"{n * 7919:064x}", "threads:2": "f" * 64} for n in range(8)}
        return json.dumps({"target": f"m.py:f{number}", "stages": digests}).encode()

    packing = Packing()
    packing.learn(text(0))
    packing.learn(b"too late: nothing like it")
    packed = [packing.pack(text(number)) for number in range(10)]
    assert sum(map(len, packed)) < 10 * len(text(0)) / 10
    assert [packing.unpack(one) for one in packed] == [text(number) for number in range(10)]


def test_threads_that_learn_at_once_learn_the_same(monkeypatch):
    packing = Packing()
    texts = [bytes([number]) * 2000 for number in range(4)]
    real, packed = packing_module.zlib.compressobj, {}

    def slowly(*options):
        time.sleep(0.05)  # so that all of them are at it
        return real(*options)

    def learn(text):
        packing.learn(text)
        packed[text] = packing.pack(text)

    monkeypatch.setattr(packing_module.zlib, "compressobj", slowly)
    threads = [threading.Thread(target=learn, args=(text,)) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {text: packing.unpack(one) for text, one in packed.items()} == dict(zip(texts, texts, strict=True))
