"""The helper with which other tests ask what a message names."""

import re

import pytest

from tests.support.naming import counts, line_naming, names, names_in_order, ran, unnamed


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("beta: -1 is too small", ("beta", -1)),
        ("error: /a/b.json:3: 'x' is no number.", ("/a/b.json", 3, "'x'")),
        ("base.beta is 0.5; of 5, 1,200 are left", ("base.beta", 0.5, 5, "1,200")),
        ("give --seed 3/5 or 20 %", ("--seed", "3/5", 20)),
    ],
)
def test_whole_words_numbers_and_paths_are_found(line, what):
    """In whatever order, and beside punctuation."""
    assert names(line, *what)


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("beta: -1", 1), ("beta: 11", 1), ("beta: 0.1", 1), ("beta: 1.5", 1), ("1,200 examples", 200), ("1,200 examples", 1),
        ("latent_dim", "latent"), ("base.beta", "base"), ("/a/b.json", "/a"), ("/a/b.json", "/a/b"), ("/a/b-1", "/a/b"), ("a\nb", "a"),
    ],
)  # fmt: skip
def test_parts_of_others_and_several_lines_are_not(line, what):
    """A wrong number that holds the right one, a file below the folder, a second line."""
    assert not names(line, what)


def test_order_and_the_only_line():
    """What was recorded stands before what was found; a line is given only if no other fits."""
    assert names_in_order("was 1 and is 4", 1, 4)
    assert not names_in_order("was 4 and is 1", 1, 4)
    assert line_naming("a 1\nb 2\n", "b") == "b 2"
    with pytest.raises(AssertionError):
        line_naming("a 1\na 2\n", "a")


def test_a_text_of_many_lines_is_asked_for_all_that_it_does_not_name():
    """What is missing is returned; a compiled pattern may stand for a word."""
    assert unnamed("beta 1\nalpha 2\n", "beta", 2, re.compile("al.ha")) == []
    assert unnamed("betas 12\n", "beta", 1, re.compile("gam+a")) == ["beta", "1", "re.compile('gam+a')"]


def test_the_last_count_of_trials_is_read():
    """Counts by status of the last line that has any, and how many trials a sweep has trained."""
    output = "done 3: 3 pending\nt: 2 completed, 1 failed of 3 trials; 2 ran now, 5 s in all\nMLflow  x\n"
    assert (counts(output), ran(output)) == ({"completed": 2, "failed": 1}, 2)
    assert counts("nothing") == {}
