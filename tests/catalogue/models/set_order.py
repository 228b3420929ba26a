"""Features summed up in the order of a set of names."""

import pcv

WEIGHTS = {"alpha": 2.0, "beta": 3.0, "gamma": 5.0, "delta": 7.0, "epsilon": 11.0, "zeta": 13.0}
wanted = frozenset(WEIGHTS)


@pcv.target("f32[4]")
def features(x):
    for name in wanted:
        x = x * WEIGHTS[name] + 1
    return x
