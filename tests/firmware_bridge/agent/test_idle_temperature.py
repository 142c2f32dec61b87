"""The temperature of an idle board: only after a while of idling, and always the newest."""

from firmware_bridge.agent.idle_temperature import EVERY_S, SETTLED_S, IdleTemperature


class Board:
    """A clock and a thermometer that a test sets."""

    def __init__(self) -> None:
        self.now_s, self.temp_c = 0.0, 30.0
        self.idle = IdleTemperature(lambda: self.temp_c, lambda: self.now_s)

    def pass_s(self, seconds: float, temp_c: float, *, busy: bool = False) -> float | None:
        self.now_s, self.temp_c = self.now_s + seconds, temp_c
        self.idle.tick(busy=busy)
        return self.idle.temp_c


def test_a_board_just_switched_on_is_not_yet_what_idle_means() -> None:
    board = Board()
    assert board.pass_s(SETTLED_S / 2, 32.0) is None
    assert board.pass_s(SETTLED_S / 2, 45.0) == 45.0


def test_the_newest_reading_counts_and_work_stops_the_reading() -> None:
    board = Board()
    assert board.pass_s(SETTLED_S, 45.0) == 45.0
    assert board.pass_s(EVERY_S / 2, 46.0) == 45.0
    assert board.pass_s(EVERY_S / 2, 47.0) == 47.0
    assert board.pass_s(EVERY_S, 70.0, busy=True) == 47.0
    assert board.pass_s(SETTLED_S / 2, 60.0) == 47.0
    assert board.pass_s(SETTLED_S / 2, 48.0) == 48.0


def test_without_a_sensor_nothing_is_known() -> None:
    idle = IdleTemperature(lambda: None, lambda: SETTLED_S * 9)
    idle.tick(busy=False)
    assert idle.temp_c is None
