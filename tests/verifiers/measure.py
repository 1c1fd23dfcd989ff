"""Measures what verifiers do: with good tokens and bad ones, over rotations, after revocations. What is here says what is asked and
in which order; which verifiers there are, the list in kinds.py says."""

import contextlib
import math
import time

from issuer import ALGORITHMS, AUDIENCE, DAY, MAX_AGE, OTHER, Issuer

# Ages of a token between which a skew lies, and its name: what a verifier allows is one of the round numbers.
SKEWS = [(5, 0), (20, 10), (45, 30), (90, 60), (135, 120), (165, 150), (240, 180), (450, 300), (1000, 600)]
# How far a verifier's time is moved: a little before and behind each of these.
STEPS = [10, 30, 60, 300, 600, 1200, 3600, DAY]
# What goes by the system's time is waited for: a key set's max-age, or the signer's hint (no longer than that) and ten seconds
# of remembered tokens, and some for a slow machine.
LIMIT = MAX_AGE + 10 + 10
# How long after a key set was fetched the first who goes by its max-age may fetch it again.
SOON = MAX_AGE - 30


def taken(verifier, token: str) -> bool:
    said = verifier.verify(token)
    assert said == "taken" or said.startswith("refused: "), f"{verifier.name}: {said}"
    return said == "taken"


@contextlib.contextmanager
def running(kinds: dict, issuer: Issuer, versions: dict | None = None):
    """Every verifier, started anew; those whose time is the system's come last, for theirs passes."""
    started = {}
    try:
        for name, kind in kinds.items():
            started[name] = kind.start(issuer)
        for name, verifier in started.items():
            version = verifier.ready()
            if versions is not None:
                versions[name] = version
        yield dict(sorted(started.items(), key=lambda item: not item[1].moves))
    finally:
        for verifier in started.values():
            verifier.stop()


def measure(kinds: dict, issuer: Issuer) -> dict:
    """Behaviour by verifier."""
    versions = {}
    with running(kinds, issuer, versions) as verifiers:
        found = {name: kind.told() | {"version": versions[name]} for name, kind in kinds.items()}
        for name, verifier in verifiers.items():
            if not kinds[name].keys_alone:
                found[name] |= tokens(kinds[name], verifier, issuer)
        for name, told in rotations(verifiers, issuer).items():
            found[name]["rotation"] = told
    for name, told in forced(kinds, issuer).items():
        found[name]["rotation"]["forced"] = told
    for name, told in revocation(kinds, issuer).items():
        found[name]["revocation"] = told
    for name, told in unknown_key(kinds, issuer).items():
        found[name]["unknownKey"] = told
    return found


def tokens(kind, verifier, issuer: Issuer) -> dict:
    """What is taken and what is refused, with the keys that everyone knows."""
    good = issuer.mint()
    assert taken(verifier, good), f"{verifier.name} refuses a good token: {verifier.verify(good)}"
    header, claims, signature = good.split(".")
    spoilt = ".".join([header, claims, ("B" if signature[0] == "A" else "A") + signature[1:]])
    pod = issuer.pod("web")
    bound = [issuer.mint(pod=pod) for _ in range(2)]
    assert taken(verifier, bound[0])
    issuer.delete(pod)
    now = issuer.began.timestamp() if kind.server_time else verifier.now()
    together = taken(verifier, issuer.mint(OTHER, AUDIENCE))
    return {
        "algorithms": [name for name in ALGORITHMS if (taken(verifier, issuer.mint(f"by-{name}", AUDIENCE)) if together else speaks(kind, issuer, name))],
        "takes": {
            "good": True,
            "twoAudiences": together,
            "anotherAudience": taken(verifier, issuer.mint(OTHER)),
            "spoiltSignature": taken(verifier, spoilt),
            # One that it has not seen before.
            "deletedPod": taken(verifier, bound[1]),
        },
        "skewSeconds": {
            "expired": skew(verifier, lambda age: issuer.mint(life=600, at=now - 600 - age)),
            "notYetValid": skew(verifier, lambda age: issuer.mint(at=now + age)),
        },
    }


def speaks(kind, issuer: Issuer, algorithm: str) -> bool:
    """Of one that takes no token that is for others, too: started as whom tokens of that algorithm are for."""
    issuer.audience = f"by-{algorithm}"
    verifier = kind.start(issuer)
    try:
        verifier.ready()
        return taken(verifier, issuer.mint())
    finally:
        verifier.stop()
        issuer.audience = AUDIENCE


def skew(verifier, mint) -> int | None:
    """For how long a token is taken that it should not be; None: longer than is asked for."""
    return next((named for age, named in SKEWS if not taken(verifier, mint(age))), None)


def rotations(verifiers: dict, issuer: Issuer) -> dict:
    """Two scheduled ones: the key of the first is known, that of the second was published after everyone had fetched."""
    old = issuer.mint()
    assert all(taken(verifier, old) for verifier in verifiers.values())
    issuer.rotate()
    new = issuer.mint()
    found = {name: {"scheduled": taken(verifier, old) and taken(verifier, new)} for name, verifier in verifiers.items()}
    issuer.rotate()
    for verifier in verifiers.values():
        # As one that has not been started anew since the last rotation.
        if verifier.moves:
            verifier.advance(DAY)
    for name, when in When(verifiers, issuer.mint(), True).settled().items():
        found[name]["next"] = when is not None
    return found


class TooSlow(Exception):
    """What was to be asked before a max-age was over was asked later: nothing is measured."""


def tried_anew(phase):
    """Tries a phase again where the machine was too slow for it."""
    def tried(*given):
        for _ in range(4):
            with contextlib.suppress(TooSlow):
                return phase(*given)
        raise TooSlow(f"{phase.__name__}: this machine needs too long for what takes a second")
    return tried


class When:
    """When verifiers begin to take a token, or no longer do. All are asked at once; those for whom that was too early again."""

    def __init__(self, verifiers: dict, token: str, wanted: bool, before=lambda verifier: None):
        self.verifiers, self.token, self.wanted, self.before = verifiers, token, wanted, before
        # Those whose time is the system's first.
        self.found = {name: 0 if self.holds(verifier) else None for name, verifier in reversed(verifiers.items())}
        self.asked = time.monotonic()

    def holds(self, verifier) -> bool:
        self.before(verifier)
        if taken(verifier, self.token) == self.wanted:
            return True
        # go-oidc answers who has waited for a key set a moment before it keeps it.
        time.sleep(0 if verifier.moves else 0.05)
        return taken(verifier, self.token) == self.wanted

    def settled(self) -> dict:
        """By verifier: 0, seconds where its time is moved, True where it was waited for, None for not at all."""
        late = [name for name, when in self.found.items() if when is None]
        for name in late:
            if self.verifiers[name].moves:
                self.found[name] = self.stepped(self.verifiers[name])
        waiting = [name for name in late if not self.verifiers[name].moves]
        while waiting and time.monotonic() < self.asked + LIMIT:
            time.sleep(0.2)
            for name in waiting:
                self.found[name] = True if self.holds(self.verifiers[name]) else None
            waiting = [name for name in waiting if self.found[name] is None]
        return self.found

    def stepped(self, verifier) -> int | None:
        """The step behind which it does; what lies between two steps is named as it is."""
        moved = 0
        for to in [step + side for step in STEPS for side in (-verifier.slack, verifier.slack)]:
            verifier.advance(to - moved)
            moved = to
            if self.holds(verifier):
                return to - verifier.slack
        return None


def warmed(verifiers: dict, token: str) -> float:
    """Has all fetch the key set; gives the time until which they must have been asked again: before it may be fetched anew, or a
    cool-down is over."""
    limit = math.inf
    for verifier in verifiers.values():
        limit = min(limit, time.monotonic() + (verifier.soon or SOON) - 1)
        assert taken(verifier, token)
    return limit


@tried_anew
def revocation(kinds: dict, issuer: Issuer) -> dict:
    """The spare that everyone knows signs; who goes on with the stolen key's tokens, for how long, and what a poke changes."""
    issuer.wait_for_spares()
    with running(kinds, issuer) as left, running(kinds, issuer) as poked:
        stolen = issuer.mint()
        limit = min(warmed(verifiers, stolen) for verifiers in (left, poked))
        issuer.revoke()
        good, poke = issuer.mint(), issuer.poke()

        def show(verifier):
            assert not taken(verifier, poke), f"{verifier.name} takes a poke"

        pokes = When(poked, stolen, False, before=show)
        forgets = When(left, stolen, False)
        if forgets.asked > limit:
            raise TooSlow
        takes = {name: taken(verifier, good) for name, verifier in left.items()}
        pokes, forgets = pokes.settled(), forgets.settled()
    with running(kinds, issuer) as anew:
        for name, verifier in anew.items():
            assert not taken(verifier, stolen), f"{name} takes a revoked key's token after a restart"
            assert taken(verifier, good), f"{name} refuses a good token after a restart"
    return {name: {"takesGoodAtOnce": takes[name], "forgets": kind.named("forgets", forgets[name]), "poked": kind.named("poked", pokes[name])}
            for name, kind in kinds.items()}


@tried_anew
def forced(kinds: dict, issuer: Issuer) -> dict:
    """A rotation that is forced, to a key that nobody knows: when its tokens are taken; those of the key of before stay good."""
    issuer.wait_for_spares()
    with running(kinds, issuer) as verifiers:
        old = issuer.mint()
        limit = warmed(verifiers, old)
        issuer.force()
        new = When(verifiers, issuer.mint(), True)
        if new.asked > limit:
            raise TooSlow
        found = new.settled()
        for name, verifier in verifiers.items():
            assert taken(verifier, old), f"{name} refuses a token of the key of before"
        return {name: kinds[name].named("asks", when) for name, when in found.items()}


@tried_anew
def unknown_key(kinds: dict, issuer: Issuer) -> dict:
    """A key that nobody knows signs (`keys revoke --fresh`): when its tokens are taken."""
    issuer.wait_for_spares()
    with running(kinds, issuer) as verifiers:
        limit = warmed(verifiers, issuer.mint())
        issuer.revoke(fresh=True)
        asks = When(verifiers, issuer.mint(), True)
        if asks.asked > limit:
            raise TooSlow
        return {name: {"asks": kinds[name].named("asks", when)} for name, when in asks.settled().items()}
