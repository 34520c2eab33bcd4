"""How much a server is asked at once: AIMD, pauses, and servers that are dead for a while."""

import asyncio
import time

import pytest

from mixdistill.builders.pace import Pace, Slots


def pace(ceiling: int = 8, address: str = "a") -> Pace:
    return Pace(address, ceiling)


def test_overload_halves_the_limit_once_for_all_requests_that_were_under_way() -> None:
    one = pace(64)

    limits = []
    for started, now in [(0, 1), (0, 1.1), (0.9, 2), (1, 2.5), (2.4, 2.6), (2.5, 3)]:
        one.overloaded(started, now)
        limits.append(one.limit)

    assert limits == [32, 32, 32, 16, 16, 8]


def test_the_limit_grows_by_one_for_each_round_of_good_answers_up_to_its_ceiling() -> None:
    one = pace(8)
    one.overloaded(0, 1)

    limits = []
    for _ in range(40):
        one.answered(well=True)
        limits.append(int(one.limit))

    assert [limits.index(limit) + 1 for limit in (5, 6, 7, 8)] == [5, 10, 17, 24]  # after 4 or 5, 5, 6, 7 answers
    assert limits[-1] == 8


def test_an_answer_that_is_no_use_is_no_room_for_more() -> None:
    one = pace(8)
    one.overloaded(0, 1)

    one.answered(well=False)

    assert one.limit == 4


def test_one_request_at_a_time_is_the_least() -> None:
    one = pace(3)

    for now in range(10):
        one.overloaded(now, now)

    assert one.limit == 1
    assert one.has_room(10)


def test_a_pause_is_for_all_requests_and_a_shorter_one_does_not_end_it() -> None:
    one = pace()
    one.overloaded(0, 1, pause_seconds=30)
    one.overloaded(0, 2, pause_seconds=1)

    assert [one.has_room(now) for now in (2, 30.9, 31)] == [False, False, True]


def test_timeouts_and_resets_halve_the_limit_but_a_refused_connection_says_nothing_of_load() -> None:
    lost, dead = pace(8), pace(8)

    lost.failed(0, 1, dead=False)
    dead.failed(0, 1, dead=True)

    assert (lost.limit, lost.is_out(1)) == (4, False)
    assert (dead.limit, dead.is_out(1)) == (8, True)


def test_five_failures_in_a_row_are_a_dead_server_and_an_answer_between_them_is_not() -> None:
    dead, alive = pace(), pace()

    for now in range(5):
        dead.failed(now, now, dead=False)
        alive.failed(now, now, dead=False)
        if now == 2:
            alive.answered(well=False)

    assert (dead.is_out(5), alive.is_out(5)) == (True, False)


def test_a_dead_server_is_left_out_twice_as_long_each_time_and_tried_with_one_request() -> None:
    one = pace()
    now, out_seconds = 0.0, []
    for _ in range(6):
        one.failed(now, now, dead=True)
        one.failed(now - 1, now, dead=True)  # was under way meanwhile: says nothing new
        out_seconds.append(one.out_until - now)
        now = one.out_until

    assert out_seconds == [5, 10, 20, 40, 60, 60]
    assert not one.is_out(now)
    one.take(now, turn=1)
    assert [one.is_out(now), one.is_out(now + 59), one.is_out(now + 60)] == [True, True, False]
    one.answered(well=True)
    assert not one.is_out(now)


def test_a_dead_server_is_tried_also_while_earlier_requests_get_no_answer() -> None:
    one = pace()
    one.take(0, turn=1)
    one.failed(1, 1, dead=True)

    assert [one.is_out(now) for now in (1, 5.9, 6)] == [True, True, False]


def test_a_reset_leaves_a_server_out_for_longer_that_is_taken_to_be_dead() -> None:
    one = pace()
    one.failed(0, 0, dead=True)
    one.failed(5, 5, dead=False)

    assert [one.is_out(now) for now in (14.9, 15)] == [True, False]


def taken(slots: Slots, n: int, avoid: Pace | None = None) -> str:
    """The addresses of so many slots, one after the other."""

    async def take() -> str:
        return "".join([pace.address for _ in range(n) if (pace := await slots.take(avoid))])

    return asyncio.run(take())


@pytest.mark.parametrize("n_servers", [1, 2, 3])
def test_free_servers_are_asked_in_turn(n_servers: int) -> None:
    slots = Slots([pace(address=address) for address in "abc"[:n_servers]])

    assert taken(slots, 6) == ("abc"[:n_servers] * 6)[:6]


def test_the_server_with_the_fewest_requests_is_asked_and_one_to_avoid_only_if_there_is_no_other() -> None:
    a, b = pace(3, "a"), pace(2, "b")
    a.in_flight = 2

    assert taken(Slots([a, b]), 1) == "b"
    assert taken(Slots([a, b]), 1, avoid=b) == "a"
    assert taken(Slots([a, b]), 1) == "b"


def test_a_server_that_is_left_out_is_asked_where_all_are() -> None:
    a, b = pace(9, "a"), pace(2, "b")
    a.failed(0, time.monotonic(), dead=True)

    assert taken(Slots([a, b]), 2) == "bb"
    b.failed(0, time.monotonic(), dead=True)
    assert taken(Slots([a, b]), 1) == "a"


def test_an_outage_is_for_as_long_as_all_servers_are_dead_of_which_one_had_answered() -> None:
    a, b = pace(address="a"), pace(address="b")
    slots = Slots([a, b])

    def seconds() -> list[float]:
        return [slots.outage_seconds(now) for now in (10, 20)]

    a.failed(1, 1, dead=True)
    b.failed(2, 2, dead=True)
    assert seconds() == [0, 0]
    a.answered(well=False)
    assert seconds() == [0, 0]
    a.failed(3, 3, dead=True)
    a.failed(8, 8, dead=True)
    assert seconds() == [7, 17]
    b.answered(well=True)
    assert seconds() == [0, 0]


def test_while_all_are_dead_that_answered_before_one_tries_and_the_others_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mixdistill.builders.pace._OUT_SECONDS", 0.1)

    async def waits() -> tuple[float, bool, bool]:
        one = pace()
        one.answered(well=True)
        started = time.monotonic()
        one.failed(started, started, dead=True)
        slots = Slots([one])
        await slots.take()
        seconds = time.monotonic() - started
        other = asyncio.create_task(slots.take())
        waited = not (await asyncio.wait([other], timeout=0.05))[0]
        one.answered(well=True)
        slots.give_back(one)
        return seconds, waited, await asyncio.wait_for(other, 1) is one

    seconds, waited, came = asyncio.run(waits())

    assert 0.1 <= seconds < 1
    assert (waited, came) == (True, True)


def test_after_a_stop_nobody_gets_anything_and_nobody_waits() -> None:
    async def taken() -> list[Pace | None]:
        one = pace(1)
        slots = Slots([one])
        await slots.take()
        waiting = [asyncio.create_task(slots.take()) for _ in range(3)]
        await asyncio.sleep(0)
        slots.stop()
        slots.give_back(one)
        return [*await asyncio.wait_for(asyncio.gather(*waiting), 1), await slots.take()]

    assert asyncio.run(taken()) == [None] * 4


def test_those_who_wait_get_their_turn_in_order_when_others_are_done_or_a_pause_ends() -> None:
    async def turns() -> tuple[list[int], float]:
        one = pace(1)
        slots = Slots([one])
        order: list[int] = []

        async def work(number: int) -> None:
            await slots.take()
            order.append(number)
            await asyncio.sleep(0)
            slots.give_back(one)

        started = time.monotonic()
        one.overloaded(started, started, pause_seconds=0.1)
        await asyncio.gather(*(work(number) for number in range(5)))
        assert one.in_flight == 0
        return order, time.monotonic() - started

    order, seconds = asyncio.run(turns())

    assert order == [0, 1, 2, 3, 4]
    assert 0.1 <= seconds < 2


def test_who_stops_waiting_takes_nothing() -> None:
    async def left_over() -> int:
        one = pace(1)
        slots = Slots([one])
        await slots.take()
        waiting = asyncio.create_task(slots.take())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        slots.give_back(one)
        await asyncio.wait_for(slots.take(), 1)
        return one.in_flight

    assert asyncio.run(left_over()) == 1
