from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from app.services.predictions.fair_queue import URGENCIES, FairQueue

entries = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, URGENCIES - 1)), max_size=40)


@given(entries)
def test_every_item_comes_out_once(added: list[tuple[str, int]]) -> None:
    queue: FairQueue[int] = FairQueue()
    for number, (key, urgency) in enumerate(added):
        queue.add(key, urgency, number)
    assert len(queue) == len(added)
    assert {key: queue.waiting(key) for key in "abc"} == {**dict.fromkeys("abc", 0), **Counter(key for key, _ in added)}
    taken = []
    while (item := queue.pop()) is not None:
        taken.append(item)
    assert sorted(taken) == list(range(len(added)))
    assert len(queue) == 0


@given(entries, st.data())
def test_a_removed_item_never_comes_out(added: list[tuple[str, int]], data: st.DataObject) -> None:
    queue: FairQueue[object] = FairQueue()
    items = [object() for _ in added]
    for item, (key, urgency) in zip(items, added, strict=True):
        queue.add(key, urgency, item)
    gone = data.draw(st.sets(st.sampled_from(range(len(added))))) if added else set()
    for number in gone:
        assert queue.remove(*added[number], items[number])
        assert not queue.remove(*added[number], items[number])
    taken = []
    while (item := queue.pop()) is not None:
        taken.append(item)
    assert {id(item) for item in taken} == {id(item) for number, item in enumerate(items) if number not in gone}


def test_items_of_one_key_and_urgency_keep_their_order() -> None:
    queue: FairQueue[int] = FairQueue()
    for number in range(20):
        queue.add("a", 3, number)
    assert [queue.pop() for _ in range(20)] == list(range(20))


def test_a_key_with_many_items_waits_for_the_others() -> None:
    queue: FairQueue[str] = FairQueue()
    for number in range(6):
        queue.add("a", 3, f"a{number}")
    for number in range(2):
        queue.add("b", 3, f"b{number}")
    assert [queue.pop() for _ in range(5)] == ["a0", "b0", "a1", "b1", "a2"]


def test_a_stream_of_urgent_items_does_not_stop_the_others() -> None:
    queue: FairQueue[str] = FairQueue()
    queue.add("b", 7, "patient")
    taken = []
    for number in range(16):
        queue.add("a", 0, f"urgent {number}")
        taken.append(queue.pop())
    assert taken[0] == "urgent 0"
    assert "patient" in taken


def test_a_key_that_may_not_take_a_turn_is_passed_over() -> None:
    queue: FairQueue[str] = FairQueue()
    queue.add("a", 0, "first")
    queue.add("b", 3, "second")
    assert queue.pop(lambda key: key != "a") == "second"
    assert queue.pop(lambda key: key != "a") is None
    assert queue.pop() == "first"
