from pcvctl import schedules


def test_a_schedule_is_identical_only_where_every_target_is(status, target):
    other = target("b.py:g")
    threads = other["evidence"]["schedules"]["threads:2"]
    other["evidence"]["schedules"]["threads:2"] = {
        **threads,
        "identical_stages": ["jaxpr", "stablehlo", "hlo"],
        "differing_stages": ["output"],
        "output_bitwise": False,
        "max_abs": 2e-7,
        "stored": {"artifacts": 4, "identical": False},
    }
    serial, challenger = schedules.of(status(target(), other))
    assert serial.name == "serial"
    assert challenger.same == ("jaxpr", "stablehlo", "hlo")
    assert challenger.other == ("output",)
    assert challenger.bitwise is False
    assert challenger.max_abs == 2e-7
    assert (challenger.stored, challenger.stored_same) == (8, False)
    assert schedules.notes([serial, challenger]) == [
        "The stages: jaxpr, stablehlo, hlo, output.",
        "Not identical under threads:2: output.",
    ]
    assert challenger.speed_up == 1.25  # the round's, not a target's own


def test_one_target_that_does_not_say_is_enough_not_to_claim_it(status, target):
    other = target("b.py:g")
    other["evidence"]["schedules"]["threads:2"] = {"builds": 2, "peak_in_flight": 2}
    challenger = schedules.of(status(target(), other))[1]
    assert challenger.bitwise is None
    assert challenger.stored_same is None


def test_the_table(status, target):
    assert schedules.lines(schedules.of(status(target(), target("b.py:g"))), 80) == [
        "schedule     wall  speed-up  stages identical  outputs     max diff  stored  at once",
        "serial     2.00 s         -  reference         -                  -       8        1",
        "threads:2  1.50 s     1.25x  all 4             same bytes         0  8 same        2",
    ]


def test_nothing_built_nothing_claimed(status, target):
    assert schedules.of(status()) == []
    assert schedules.of(status(target(evidence={}))) == []


def test_serial_builds_have_no_speed_up(status, target):
    one = target()
    one["evidence"]["schedules"]["control"] = one["evidence"]["schedules"]["threads:2"]
    lines = schedules.lines(schedules.of(status(one, speed={"control": 1.07})), 80)
    assert [line.split()[3] for line in lines if line.startswith(("serial", "control"))] == ["-", "-"]
