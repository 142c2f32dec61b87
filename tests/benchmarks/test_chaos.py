"""The schedules of the chaos benchmark: what a seed means, and that two hundred hold everything."""

from collections import Counter

from benchmarks.chaos_schedule import AT_MOMENTS, ENDINGS, KINDS, OF_A_DEVICE, draw

DEVICES, MOMENTS, SCHEDULES = 3, 80, 200


def test_a_seed_always_means_the_same() -> None:
    for seed in range(SCHEDULES):
        assert draw(seed, DEVICES, MOMENTS) == draw(seed, DEVICES, MOMENTS)
    assert draw(1, DEVICES, MOMENTS) != draw(2, DEVICES, MOMENTS)


def test_two_hundred_schedules_hold_plenty_of_everything() -> None:
    drawn = [draw(seed, DEVICES, MOMENTS) for seed in range(SCHEDULES)]
    faults = [fault for one in drawn for fault in (*one.first, *one.then)]
    kinds = Counter(fault.kind for fault in faults)
    assert min(kinds[kind] for kind in KINDS) >= SCHEDULES // len(KINDS)
    assert all(one.first for one in drawn)
    assert {one.ending for one in drawn} == set(ENDINGS)
    for name in ("again", "late", "corrupt"):
        assert sum(getattr(one.mischief, name) > 0 for one in drawn) > SCHEDULES // 3


def test_every_fault_can_strike() -> None:
    for seed in range(SCHEDULES):
        one = draw(seed, DEVICES, MOMENTS)
        for faults in (one.first, one.then):
            ordered = [fault.device for fault in faults if fault.kind in AT_MOMENTS]
            assert len(ordered) == len(set(ordered)), "a daemon takes one order at a time"
            for fault in faults:
                assert (fault.device is not None) == (fault.kind in OF_A_DEVICE)
                assert fault.device is None or 0 <= fault.device < DEVICES
                assert fault.at >= 1
                assert fault.at <= MOMENTS or fault.kind not in AT_MOMENTS
                assert (fault.moments > 0) == (fault.kind == "disk_full")
                assert (fault.seconds != 0) == fault.kind.endswith("clock")
