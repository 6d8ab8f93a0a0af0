"""Whether a trust policy (C2SP tlog-policy) is read as the format says, and its quorum is what it says."""

from __future__ import annotations

import pytest

from evidence.errors import ParseError
from evidence.policy import Policy
from tests.evidence.logs import signer

LOG = signer("log.example/1", 1).verifier
X = [signer(f"x{n}.example", 10 + n).cosigner for n in range(3)]
Y = [signer(f"y{n}.example", 20 + n).cosigner for n in range(3)]
TWO_LEVELS = f"""# the example of the format's own page
log {LOG.vkey} https://log.example/

witness X1 {X[0].vkey}
witness X2 {X[1].vkey}
\twitness  X3\t{X[2].vkey} https://x3.example/
group X-witnesses 2 X1 X2 X3

witness Y1 {Y[0].vkey}
witness Y2 {Y[1].vkey}
witness Y3 {Y[2].vkey}
group Y-witnesses any Y1 Y2 Y3

group X-and-Y all X-witnesses Y-witnesses
quorum X-and-Y
"""


@pytest.mark.parametrize(
    ("cosigned", "met"),
    [
        ((), False),
        ((X[0], X[1]), False),
        ((X[0], Y[0]), False),
        ((X[0], X[2], Y[1]), True),
        ((*X, *Y), True),
        (tuple(Y), False),
    ],
)
def test_a_quorum_of_groups_of_groups(cosigned, met):
    policy = Policy.parse(TWO_LEVELS)
    assert policy.logs == (LOG,)
    assert policy.met_by(cosigned) is met


def test_quorum_none_asks_for_nobody():
    assert Policy.parse(f"log {LOG.vkey}\nquorum none\n").met_by(())


def test_single_keys_stand_for_all_of_them():
    policy = Policy.of_keys([LOG], X)
    assert not policy.met_by(X[:2])
    assert policy.met_by(X)
    assert Policy.of_keys([LOG]).met_by(())


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        ("log nonsense\nquorum none", 1, "vkey"),
        (f"log {X[0].vkey}\nquorum none", 1, "not a log's"),
        (f"witness a {LOG.vkey}\nquorum a", 1, "not a witness's"),
        (f"log {LOG.vkey}\nlog {LOG.vkey}\nquorum none", 2, "twice"),
        (f"witness a {X[0].vkey}\nwitness b {X[0].vkey}\nquorum a", 2, "twice"),
        (f"witness a {X[0].vkey}\nwitness a {X[1].vkey}\nquorum a", 2, "taken"),
        (f"witness none {X[0].vkey}\nquorum none", 1, "taken"),
        ("quorum a", 1, "a is no witness"),
        (f"group g all a\nwitness a {X[0].vkey}\nquorum g", 1, "a is no witness"),
        (f"witness a {X[0].vkey}\ngroup g 2 a\nquorum g", 2, "from 1 to 1"),
        (f"witness a {X[0].vkey}\ngroup g 0 a\nquorum g", 2, "from 1 to 1"),
        (f"witness a {X[0].vkey}\ngroup g any a a\nquorum g", 2, "twice"),
        (f"witness a {X[0].vkey}\ngroup g any a\ngroup h any a\nquorum g", 3, "twice"),
        ("quorum none\nquorum none", 2, "already"),
        ("trust everybody", 1, "reads"),
        ("quorum none\r\n", 1, "control character"),
    ],
)
def test_what_is_no_policy_is_refused_with_its_line(text, line, why):
    with pytest.raises(ParseError, match=f"line {line}: .*{why}"):
        Policy.parse(text)


def test_a_policy_without_quorum_is_none():
    with pytest.raises(ParseError, match="no quorum line"):
        Policy.parse(f"log {LOG.vkey}\n")
