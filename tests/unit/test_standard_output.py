# SPDX-License-Identifier: LGPL-2.1-or-later
"""What models print goes to stderr, what the host's other threads print goes where the host wants it."""

import contextlib
import io
import sys
import threading

import pytest
import torch
from archives import LOADING, Stateful, with_line
from misbehaving import Printing, PrintingInTask
from models import script_bytes

from kim_torchml.engines.torchscript.program import TorchScriptProgram
from kim_torchml.engines.torchscript.standard_output import stdout_to_stderr

CPU = torch.device("cpu")


@pytest.fixture
def host(monkeypatch):
    """Return a function that gives the host a stdout of its own; pytest sets stdout anew when a test begins."""

    def function():
        monkeypatch.setattr(sys, "stdout", io.StringIO())
        return sys.stdout

    return function


def call(program):
    return program._forward([torch.ones(4, 3, dtype=torch.float64) for _ in range(5)])


def in_another_thread(function):
    thread = threading.Thread(target=function)
    thread.start()
    thread.join()


@pytest.mark.parametrize("kind", [Printing, PrintingInTask])
def test_what_a_model_prints(kind, host, capfd):
    stream = host()
    call(TorchScriptProgram(script_bytes(kind), "x.pt", CPU))
    assert sys.stdout is stream
    assert stream.getvalue() == ""
    assert capfd.readouterr().err == "rows 4\n"


def test_what_a_model_prints_while_it_is_loaded(host, capfd):
    stream = host()
    TorchScriptProgram(with_line('print("loading")', instead=LOADING, kind=Stateful), "x.pt", CPU)
    assert stream.getvalue() == ""
    assert capfd.readouterr().err == "loading\n"


def test_other_threads_keep_their_stdout(host, capfd):
    stream = host()
    with stdout_to_stderr():
        in_another_thread(lambda: print("of the host"))
        in_another_thread(lambda: sys.stdout.flush())
        print("of the model")
        with stdout_to_stderr():
            print("nested")
        print("again")
    print("afterwards")
    assert sys.stdout is stream
    assert stream.getvalue() == "of the host\nafterwards\n"
    assert capfd.readouterr().err == "of the model\nnested\nagain\n"


def test_threads_that_print_and_threads_of_the_host_side_by_side(host, capfd):
    stream = host()
    program = TorchScriptProgram(script_bytes(Printing), "x.pt", CPU)
    work = [lambda: [call(program) for _ in range(40)], lambda: [print("of the host") for _ in range(40)]]
    threads = [threading.Thread(target=work[k % 2]) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sys.stdout is stream
    assert stream.getvalue() == "of the host\n" * 80
    assert capfd.readouterr().err.count("rows 4") == 80


def test_a_host_that_sets_stdout_meanwhile_keeps_its_choice(host):
    stream = host()
    other = io.StringIO()
    with stdout_to_stderr():
        sys.stdout = other
    assert sys.stdout is other
    print("of the host")
    assert (stream.getvalue(), other.getvalue()) == ("", "of the host\n")


def test_a_host_that_puts_the_stand_in_back_later(host, capfd):
    """A redirection of the host begins while a model runs, and ends after it."""
    stream = host()
    redirection = contextlib.redirect_stdout(io.StringIO())
    with stdout_to_stderr():
        redirection.__enter__()
    redirection.__exit__(None, None, None)
    print("of the host")
    assert sys.stdout.getvalue() == stream.getvalue() == "of the host\n"
    with stdout_to_stderr():
        print("of a model")
    assert sys.stdout is stream
    assert capfd.readouterr().err == "of a model\n"


def test_an_error_puts_stdout_back(host):
    stream = host()
    with pytest.raises(ZeroDivisionError), stdout_to_stderr():
        raise ZeroDivisionError
    assert sys.stdout is stream


@pytest.mark.parametrize("stdout", [None, io.StringIO()])
@pytest.mark.parametrize("stderr", ["none", "closed"])
def test_what_cannot_be_written_is_dropped(stdout, stderr, monkeypatch):
    closed = io.StringIO()
    closed.close()
    program = TorchScriptProgram(script_bytes(Printing), "x.pt", CPU)
    monkeypatch.setattr(sys, "stdout", stdout)
    monkeypatch.setattr(sys, "stderr", None if stderr == "none" else closed)
    assert call(program) == 12.0
    assert sys.stdout is stdout


def test_a_host_without_stdout_may_print_meanwhile(monkeypatch, capfd):
    """`print` drops its text where sys.stdout is None, as in hosts without a console."""
    monkeypatch.setattr(sys, "stdout", None)
    failures = []

    def of_the_host():
        try:
            print("of the host", flush=True)
            failures.append(sys.stdout.isatty())
        except AttributeError as error:
            failures.append(error)

    with stdout_to_stderr():
        in_another_thread(of_the_host)
        print("of the model")
    assert failures == [False]
    assert sys.stdout is None
    assert capfd.readouterr() == ("", "of the model\n")
