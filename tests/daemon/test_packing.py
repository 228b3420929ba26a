"""Packing texts that are much like each other."""

from __future__ import annotations

import json
import threading

from hypothesis import given
from hypothesis import strategies as st

from pcvd.packing import Packing


@given(st.lists(st.binary(max_size=5000) | st.text(max_size=3000).map(str.encode)))
def test_what_was_packed_is_unpacked(texts):
    packing = Packing()
    packed = [packing.pack(text) for text in texts]
    assert [packing.unpack(one) for one in packed] == texts


def test_texts_that_are_much_alike_take_little():
    def text(number):
        stages = {
            f"stage {n}": {"serial": f"{n * 7919:064x}", "threads:2": f"{n * 104729:064x}"} for n in range(8)
        }
        return json.dumps({"target": f"m.py:f{number}", "stages": stages}).encode()

    packing = Packing()
    packed = [packing.pack(text(number)) for number in range(10)]
    assert sum(map(len, packed[1:])) < 9 * len(text(0)) / 10
    assert [packing.unpack(one) for one in packed] == [text(number) for number in range(10)]


def test_threads_may_share_one():
    packing = Packing()
    texts = [bytes([number]) * 2000 for number in range(8)]
    packed, begin = {}, threading.Barrier(len(texts))

    def pack(text):
        begin.wait()
        packed[text] = packing.pack(text)

    threads = [threading.Thread(target=pack, args=(text,)) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {packing.unpack(one) for one in packed.values()} == set(texts)
