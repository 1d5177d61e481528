# SPDX-License-Identifier: LGPL-2.1-or-later
"""The profile: which time counts as what, and what is printed when a model is closed."""

import re
import textwrap
import threading
import time
from pathlib import Path

import pytest
from fresh_python import run_python
from models import PARAMETERS, Edges3, Graph3, GraphWithForces, PairOfAll, script_bytes
from opening import compute, open_described, open_model, outputs_of
from particles import Configuration, cluster
from test_limits import DESCRIPTOR, OfDescriptors

from kim_torchml.errors import DriverError
from kim_torchml.process import profile
from kim_torchml.process.profile import EDGES, EXCHANGE, FORWARD, GRADIENT, OUTPUTS, WAITING, Profile, counted, timed

CLUSTER = cluster(8, 3.0, n_contributing=5)
SECTIONS = [EDGES, FORWARD, GRADIENT, OUTPUTS, "rest of the driver", "outside of the driver"]


class Clock:
    """A clock that goes on when it is told to."""

    def __init__(self):
        self.now = 100.0
        self.waits = []

    def sleep(self, seconds):
        self.now += seconds

    def wait(self):
        self.waits.append(self.now)


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(profile.time, "perf_counter", lambda: clock.now)
    monkeypatch.setattr(profile, "_of_thread", threading.local())
    return clock


_NUMBER = r"  (\S.*?) +(\d+)"


def rows_of(table):
    """Return the times of a table, ms and percent, by their names; and the first line."""
    first, *lines = table.splitlines()
    times = [line for line in lines if not re.fullmatch(_NUMBER, line)]
    rows = [re.fullmatch(r"  (\S.*?) +([\d.]+) ms(?: +([\d.]+) %)?", line).groups() for line in times]
    return first, {name: (float(ms), None if percent is None else float(percent)) for name, ms, percent in rows}


def numbers_of(table):
    """Return the other numbers of a table by their names."""
    matches = [re.fullmatch(_NUMBER, line) for line in table.splitlines()[1:]]
    return {match[1]: int(match[2]) for match in matches if match}


def one_compute(profile, clock, edges=0.0, forward=0.0, gradient=0.0, outputs=0.0, rest=0.0):
    with profile.compute(None):
        for section, seconds in ((EDGES, edges), (FORWARD, forward), (GRADIENT, gradient), (OUTPUTS, outputs)):
            with timed(section):
                clock.sleep(seconds)
        clock.sleep(rest)


def test_a_table_by_hand(clock):
    """The first compute, which is much slower, is left out of the means."""
    profile = Profile(clock.wait)
    one_compute(profile, clock, 5.0, 5.0, 5.0, 5.0, 5.0)
    for factor in (1.0, 3.0):
        clock.sleep(0.02 * factor)
        one_compute(profile, clock, 0.001 * factor, 0.005 * factor, 0.007 * factor, 0.0005 * factor, 0.0065 * factor)
    first, rows = rows_of(profile.table("the model x.pt"))
    assert first == "profile of the model x.pt: the first compute took 25000.0 ms; mean of the other 2:"
    assert list(rows) == [*SECTIONS, "a step"]
    assert [ms for ms, _ in rows.values()] == [2.0, 10.0, 14.0, 1.0, 13.0, 40.0, 80.0]
    assert [percent for _, percent in rows.values()] == [
        2.5,
        12.5,
        17.5,
        pytest.approx(1.2, abs=0.11),
        pytest.approx(16.2, abs=0.11),
        50.0,
        None,
    ]


def test_the_same_section_several_times(clock):
    profile = Profile(clock.wait)
    one_compute(profile, clock)
    with profile.compute(None):
        for _ in range(3):
            with timed(EDGES):
                clock.sleep(0.5)
    assert rows_of(profile.table("it"))[1][EDGES] == (1500.0, 100.0)


def test_a_section_within_another_has_its_time_alone(clock):
    profile = Profile(clock.wait)
    one_compute(profile, clock)
    with profile.compute(None), timed(FORWARD):
        clock.sleep(0.3)
        for _ in range(2):
            with timed(EXCHANGE):
                clock.sleep(0.2)
                with timed(WAITING):
                    clock.sleep(0.05)
        clock.sleep(0.1)
    _, rows = rows_of(profile.table("it"))
    assert {name: rows[name][0] for name in (FORWARD, EXCHANGE, WAITING, "a step")} == {
        FORWARD: pytest.approx(400.0),
        EXCHANGE: pytest.approx(400.0),
        WAITING: pytest.approx(100.0),
        "a step": pytest.approx(900.0),
    }


def test_numbers_are_means_over_computes(clock):
    profile = Profile(clock.wait)
    counted("rows", 7)
    for parts in ((1000,), (10, 20), (50,)):
        with profile.compute(None):
            for part in parts:
                counted("rows", part)
    assert numbers_of(profile.table("it")) == {"rows": 40}


def test_no_compute_and_a_single_one(clock):
    profile = Profile(clock.wait)
    assert profile.table("it") == ""
    one_compute(profile, clock, forward=0.25)
    assert profile.table("it") == "profile of it: the first compute took 250.0 ms; there was no other"


def test_the_driver_begins_where_the_simulator_called(clock):
    """The shim reads its arguments before Python runs: that is the driver's time."""
    profile = Profile(clock.wait)
    one_compute(profile, clock)
    clock.sleep(1.0)
    started = clock.now
    clock.sleep(0.25)
    with profile.compute(started):
        pass
    _, rows = rows_of(profile.table("it"))
    assert rows["rest of the driver"] == (250.0, 20.0)
    assert rows["outside of the driver"] == (1000.0, 80.0)


def test_computes_that_take_no_time(clock):
    profile = Profile(clock.wait)
    for _ in range(3):
        one_compute(profile, clock)
    assert rows_of(profile.table("it"))[1]["a step"] == (0.0, None)


def test_a_device_is_waited_for_at_both_ends(clock):
    profile = Profile(clock.wait)
    with profile.compute(None):
        clock.sleep(1.0)
        with timed(FORWARD):
            clock.sleep(2.0)
    assert clock.waits == [101.0, 103.0]


def test_a_compute_that_fails_counts_and_leaves_nothing_behind(clock):
    profile = Profile(clock.wait)
    one_compute(profile, clock)
    with pytest.raises(DriverError), profile.compute(None), timed(EDGES):
        clock.sleep(0.5)
        raise DriverError("no")
    with timed(EDGES):
        clock.sleep(7.0)
    assert rows_of(profile.table("it"))[1][EDGES] == (500.0, 100.0)


def test_nothing_is_measured_outside_a_compute(clock):
    with timed(EDGES) as nothing:
        clock.sleep(1.0)
    assert nothing is None
    assert clock.waits == []


def test_a_compute_within_a_compute(clock):
    """A signal handler may compute in the thread that it has interrupted. No time is negative."""
    outer, inner = Profile(clock.wait), Profile(clock.wait)
    for each in (outer, inner):
        one_compute(each, clock)
    with outer.compute(None):
        clock.sleep(0.1)
        one_compute(inner, clock, forward=0.2)
        with timed(EDGES):
            clock.sleep(0.3)
    _, rows = rows_of(outer.table("it"))
    assert (rows[EDGES][0], rows[FORWARD][0], rows["outside of the driver"][0]) == (300.0, 0.0, 0.0)
    assert rows_of(inner.table("it"))[1][FORWARD][0] == 200.0


def test_threads_measure_their_own_time():
    """Each spends its time in one section; the sum over all is divided by the number of computes."""
    profile = Profile(lambda: None)
    with profile.compute(None):
        pass

    def work(section):
        for _ in range(3):
            with profile.compute(None), timed(section):
                time.sleep(0.02)

    threads = [threading.Thread(target=work, args=(section,)) for section in (EDGES, FORWARD, GRADIENT)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    first, rows = rows_of(profile.table("it"))
    assert first.endswith("mean of the other 9:")
    for section in (EDGES, FORWARD, GRADIENT):
        # A third of the computes; a busy machine may take longer.
        assert 20.0 / 3 <= rows[section][0] < 2000.0
    assert rows[OUTPUTS][0] == 0.0


@pytest.fixture
def profiled(opened, monkeypatch, capfd):
    """Return a function that computes with a model, closes it, and returns the table that it has printed."""

    def function(script, times=3, outputs=None, before=lambda model: None, **parameters):
        monkeypatch.setenv("KIM_TORCHML_PROFILE", "1")
        model = opened(script, **parameters)
        before(model)
        for _ in range(times):
            compute(model, CLUSTER, outputs or outputs_of(PairOfAll))
        capfd.readouterr()
        model.close()
        return capfd.readouterr().err

    return function


@pytest.mark.parametrize("kind", [PairOfAll, Graph3, Edges3], ids=lambda kind: kind.__name__)
def test_a_model_prints_a_table(kind, profiled):
    printed = profiled(script_bytes(kind), outputs=outputs_of(kind), **PARAMETERS[kind])
    assert printed.startswith("[kim-torchml] profile of the model model.pt: the first compute took ")
    first, rows = rows_of(printed.removeprefix("[kim-torchml] "))
    assert first.endswith(" ms; mean of the other 2:")
    assert list(rows) == [*SECTIONS, "a step"]
    numbers = numbers_of(printed)
    assert list(numbers) == ["rows", "rows that contribute", "edges"]
    assert numbers["rows"] == len(CLUSTER.coordinates)
    assert numbers["rows that contribute"] == 5
    assert numbers["edges"] > 5
    parts = [rows[section] for section in SECTIONS]
    assert all(ms > 0 for ms, _ in parts)
    assert sum(ms for ms, _ in parts) == pytest.approx(rows["a step"][0], abs=0.01)
    assert sum(percent for _, percent in parts) == pytest.approx(100.0, abs=0.5)


def test_where_the_time_is_spent(profiled, monkeypatch):
    """Each part is made to take a time of its own."""

    def slow_down(model):
        program, kind = model._program, model._inputs
        for owner, name, seconds in ((kind, "build", 0.02), (program, "_forward", 0.05)):
            plain = getattr(owner, name)

            def slower(*arguments, plain=plain, seconds=seconds):
                time.sleep(seconds)
                return plain(*arguments)

            monkeypatch.setattr(owner, name, slower)

    _, rows = rows_of(
        profiled(script_bytes(Edges3), before=slow_down, **PARAMETERS[Edges3]).removeprefix("[kim-torchml] ")
    )
    assert 20.0 <= rows[EDGES][0] < rows[FORWARD][0]
    assert rows[FORWARD][0] >= 50.0
    assert rows[OUTPUTS][0] < 20.0


def test_descriptors_are_made_again_for_virials_of_particles(tmp_path, monkeypatch):
    """Both times count as edges."""
    monkeypatch.setenv("KIM_TORCHML_PROFILE", "1")
    tables = '[descriptor]\nname = "SymmetryFunctions"\nfile = "descriptor.dat"\n'
    script = script_bytes(OfDescriptors)
    model = open_described(tmp_path, script, kind="descriptor", descriptor=DESCRIPTOR, tables=tables)
    for name in ("build", "build_by_pair"):
        plain = getattr(model._inputs, name)
        monkeypatch.setattr(model._inputs, name, lambda *given, plain=plain: time.sleep(0.05) or plain(*given))
    found = []
    for outputs in (["partialForces"], ["partialForces", "partialParticleVirial"]):
        model._profile = Profile(lambda: None)
        for _ in range(2):
            compute(model, CLUSTER, outputs)
        found.append(rows_of(model._profile.table("it"))[1][EDGES][0])
    assert found[0] >= 50.0
    assert found[1] >= 100.0


def test_a_model_with_its_own_forces_has_no_gradient(profiled):
    printed = profiled(script_bytes(GraphWithForces), outputs=["partialForces"], **PARAMETERS[GraphWithForces])
    assert rows_of(printed.removeprefix("[kim-torchml] "))[1][GRADIENT] == (0.0, 0.0)


@pytest.mark.parametrize("value", [None, "", "0", "off"])
def test_nothing_is_said_or_measured_when_it_is_off(value, opened, monkeypatch, capfd):
    if value is not None:
        monkeypatch.setenv("KIM_TORCHML_PROFILE", value)
    model = opened(script_bytes(PairOfAll))
    synchronised = []
    monkeypatch.setattr("kim_torchml.driver.model.synchronise", synchronised.append)
    compute(model, CLUSTER)
    model.close()
    assert capfd.readouterr().err == ""
    assert synchronised == []


def test_a_model_that_has_not_computed_prints_nothing(opened, monkeypatch, capfd):
    monkeypatch.setenv("KIM_TORCHML_PROFILE", "1")
    opened(script_bytes(PairOfAll)).close()
    assert capfd.readouterr().err == ""


def test_a_compute_without_contributing_particles_counts(opened, monkeypatch, capfd):
    """A rank without particles waits for the others, and one sees it."""
    monkeypatch.setenv("KIM_TORCHML_PROFILE", "1")
    model = opened(script_bytes(PairOfAll))
    for _ in range(2):
        compute(model, Configuration([], [], []))
    model.close()
    assert "mean of the other 1:" in capfd.readouterr().err


def test_every_rank_prints_its_table_in_one_piece(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("KIM_TORCHML_PROFILE", "1")
    monkeypatch.setenv("OMPI_COMM_WORLD_RANK", "3")
    monkeypatch.setenv("OMPI_COMM_WORLD_LOCAL_RANK", "1")
    model = open_model(tmp_path, script_bytes(PairOfAll))
    for _ in range(2):
        compute(model, CLUSTER)
    written = []
    monkeypatch.setattr("kim_torchml.process.notices.write_line", written.append)
    model.close()
    (text,) = written
    assert text.startswith("[kim-torchml rank 3] profile of the model model.pt: ")
    assert text.count("\n") == 10
    assert capfd.readouterr().err == ""


def test_a_host_that_ends_before_its_model_is_told_too(tmp_path):
    """It destroys the model while Python ends, when the functions of modules are gone already."""
    code = """
        import sys
        from pathlib import Path
        from models import PairOfAll, script_bytes
        from opening import compute, open_model
        from particles import cluster
        from kim_torchml.process import notices

        class Host:
            def __del__(self):
                # As some Pythons leave it for those who come last.
                self.notices.tell = None
                self.model.close()

        host = Host()
        host.notices = notices
        host.model = open_model(Path(sys.argv[1]), script_bytes(PairOfAll))
        for _ in range(2):
            compute(host.model, cluster(8, 3.0, n_contributing=5))
    """
    code = 'import os\nos.environ["KIM_TORCHML_PROFILE"] = "1"\nos.dup2(1, 2)\n' + textwrap.dedent(code)
    printed = run_python(code, path=[Path(__file__).parent], arguments=[tmp_path])
    assert printed.count("profile of the model model.pt: the first compute took") == 1
    assert "Error" not in printed
