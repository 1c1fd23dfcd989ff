"""What came of the requests: a table, and the differing exchanges by kind."""
import collections, dataclasses

import compare


@dataclasses.dataclass
class Exchange:
    seed: int
    scenario: int
    step: object
    asked: list
    answers: list
    found: list


def share(some, all_):
    return f"{100 * some / all_:5.1f} %" if all_ else "      -"


def table(results):
    """Prints the table; gives the share of equal answers in hundredths."""
    rows = collections.defaultdict(lambda: [0, 0, 0])
    for e in results:
        how = "spoilt" if e.step.spoilt else "well formed"
        for name in (f"{e.step.verb:16} {how}", f"{e.step.kind:26} {how}", f"seed {e.seed}", f"all {how}", "all"):
            row = rows[name]
            row[0] += 1
            row[1] += not e.found
            row[2] += e.answers[0].status == e.answers[1].status
    print(f"{'':40} requests    equal   same status")
    for name in sorted(rows, key=lambda n: (n.startswith("all"), n.startswith("seed"), n)):
        n, equal, status = rows[name]
        print(f"{name:40} {n:8} {share(equal, n):>9} {share(status, n):>11}")
    good = [e.answers[0].status // 100 == 2 for e in results]
    ours = [e.answers[1].status // 100 == 2 for e in results]
    print(f"refused here, served there: {sum(g and not o for g, o in zip(good, ours))} of {sum(good)}")
    print(f"served here, refused there: {sum(o and not g for g, o in zip(good, ours))} of {len(good) - sum(good)}")
    n, equal, _ = rows["all"]
    return 100 * equal / max(n, 1)


def text(data, most=700):
    shown = (data or b"").decode(errors="replace")
    return shown if len(shown) <= most else shown[:most] + f"… ({len(shown)})"


def listing(results):
    """Differing exchanges, the most frequent kinds first."""
    groups = collections.defaultdict(list)
    for e in results:
        if e.found:
            groups[compare.signature(e.step, e.found)].append(e)
    out = [f"{len(es):5}  {name}" for name, es in sorted(groups.items(), key=lambda g: -len(g[1]))]
    for name, es in sorted(groups.items(), key=lambda g: -len(g[1])):
        out.append(f"\n=== {len(es)} × {name}")
        for e in es[:4]:
            method, path, headers, body, user = e.asked[0]
            out.append(f"--- seed {e.seed}, scenario {e.scenario}, spoilt: {e.step.spoilt or 'no'}, user {user}\n{method} {path}\n{headers}\n{text(body, 1500)}")
            out += [f"  {where}:\n    there {str(a)[:600]}\n    here  {str(b)[:600]}" for where, a, b in e.found[:6]]
            out += [f"  {who} {x.status} {x.type}: {text(x.body)}" for who, x in zip(("there", "here "), e.answers)]
    return "\n".join(out) + "\n"
