"""The store: what goes in comes out, what is asked for is found, and what it cannot hold costs nothing else."""

from __future__ import annotations

import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import sqlalchemy as sql

from edgekd.errors import EdgekdError
from edgekd.records import Figure
from edgekd.store import Query
from edgekd.store.results import find, save, there
from edgekd.store.tables import connect
from tests.store.made import result


def test_what_goes_in_comes_out(url: str) -> None:
    one = replace(result(label="kitchen", row="litert_xnnpack"), document={"notes": ["50 % of 1"], "layers": []})
    save(connect(url), [one])
    (found,) = find(connect(url), Query())
    assert replace(found, id=0) == one and found.id == 1 and found.where == "kitchen"


def test_queries(url: str) -> None:
    engine = connect(url)
    failed = replace(result(device="adb:A1", failed="tried 3 times: adb A1: gone"), figures={})
    save(engine, [result(), result("pictures"), result(ms=3.0, label="desk"), failed])
    save(engine, [result(ms=4.0)])

    def ids(query: Query) -> list[int]:
        return [one.id for one in find(engine, query)]

    assert ids(Query()) == [1, 2, 3, 4, 5] and ids(Query(last=2)) == [4, 5]
    assert ids(Query(model="keyw")) == [1, 3, 4, 5] and ids(Query(model="f-pict")) == [2]
    assert ids(Query(device="desk")) == [3] and ids(Query(device="adb:")) == [4] and ids(Query(device="%")) == []
    assert ids(Query(failures=True)) == [4] and ids(Query(failures=False, model="keywords")) == [1, 3, 5]
    assert ids(Query(figure="energy_uj")) == [] and ids(Query(target="pixel-8")) == []
    assert ids(Query(newest=True)) == [2, 3, 4, 5]
    assert there(engine, {result().asked, failed.asked, "another"}) == {result().asked}


def test_many_writers_at_once_lose_nothing(url: str) -> None:
    def write(number: int) -> None:
        save(connect(url), [result(f"model-{number}")])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(24)))
    assert sorted(one.model for one in find(connect(url), Query())) == sorted(f"model-{number}" for number in range(24))


def test_all_or_nothing(url: str) -> None:
    engine = connect(url)
    twice = result()
    bad = replace(twice, figures={"latency_ms": replace(twice.figures["latency_ms"], unit=None)})
    with pytest.raises(EdgekdError, match="the store of measurements cannot be used"):
        save(engine, [twice, bad])
    assert find(engine, Query()) == []


def test_deleting_a_result_deletes_its_figures(url: str) -> None:
    engine = connect(url)
    save(engine, [result()])
    with engine.begin() as connection:
        connection.execute(sql.text("DELETE FROM edgekd_results"))
        assert connection.execute(sql.text("SELECT count(*) FROM edgekd_figures")).scalar() == 0


def test_a_row_that_failed_beside_a_good_one_is_missing(url: str) -> None:
    engine = connect(url)
    good, bad = result(row="portable"), replace(result(row="cmsis", failed="it computes something else"), figures={})
    lost = replace(result(failed="tried 3 times: gone"), figures={})
    for saved, done in (
        ([good, bad], False),
        ([good, replace(bad, failed="")], True),
        ([lost], False),  # measured --again, and the device was gone
        ([good], True),
        ([replace(good, failed="rejected: it throttled")], False),
    ):
        save(engine, saved)
        assert (there(engine, [good.asked]) == {good.asked}) is done, saved


def test_more_keys_than_a_statement_takes(url: str) -> None:
    engine = connect(url)
    save(engine, [result()])
    assert there(engine, [result().asked, *(f"key {number}" for number in range(300_000))]) == {result().asked}


def test_what_a_database_refuses_is_replaced(url: str) -> None:
    engine = connect(url)
    save(engine, [replace(result("caf\udce9", failed="it said \0 and died"), document={"notes": ["\udce9"]})])
    (found,) = find(engine, Query())
    assert found.document == {"notes": ["?"]} and found.model == "caf?" and found.failed == "it said \ufffd and died"


def test_killed_while_it_writes(url: str) -> None:
    save(connect(url), [result("before")])
    code = (
        "import os, signal, sys; import sqlalchemy as sql; from edgekd.store.tables import RESULTS, connect\n"
        "with connect(sys.argv[1]).begin() as connection:\n"
        "    plain = {column.name: '' for column in RESULTS.columns if column.name not in ('id', 'document')}\n"
        "    connection.execute(sql.insert(RESULTS).values(plain | {'document': {}}))\n"
        "    connection.execute(sql.text('PRAGMA cache_spill=1')); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", code, url], check=False).returncode == -signal.SIGKILL
    save(connect(url), [result("after")])
    assert [one.model for one in find(connect(url), Query())] == ["before", "after"]


def test_what_is_no_number_costs_no_result(url: str) -> None:
    odd = {"a": Figure(float("nan"), "ms", "measured", "x"), "b": Figure(1.0, "ms", "measured", "x", 3, float("-inf"), 2.0)}
    save(connect(url), [replace(result(), figures=odd)])
    (found,) = find(connect(url), Query())
    assert found.figures == {"b": replace(odd["b"], low=None)}
