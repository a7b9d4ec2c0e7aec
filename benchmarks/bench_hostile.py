"""Calls everything with hostile input and prints what ends in anything but one clear line or the right result.

    python benchmarks/bench_hostile.py                          5,000 inputs of all three families
    python benchmarks/bench_hostile.py --family functions --only scoring --count 300 --accepted

Each bad answer is a JSON line: the case, and what happened. The last line counts them. Each input runs in a process of
its own (commands) or in one that is started anew when an input ends it (functions).
"""

import argparse
import collections
import json
import os
import pathlib
import random
import selectors
import shutil
import subprocess
import sys
import tempfile
import threading
import time

import common
import hostile

PATIENCE = 10  # seconds beyond what the same call takes with a good value


class Worker:
    """A process that plans and runs units of cases: one JSON line in, JSON lines out."""

    def __init__(self, family: str, home: pathlib.Path):
        self.command = [sys.executable, str(pathlib.Path(hostile.__file__)), family, str(home)]
        self.process: subprocess.Popen | None = None

    def ask(self, request: dict, patience: float) -> list[dict]:
        """The lines of the answer; the last one says "done", "died" or "hung"."""
        if self.process is None or self.process.poll() is not None:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0
            )
        process = self.process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(request).encode() + b"\n")
        lines, buffer = [], b""
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            while True:
                if not selector.select(patience):
                    self.stop()
                    return [*lines, {"hung": patience}]
                part = os.read(process.stdout.fileno(), 1 << 20)
                if not part:
                    code = process.wait()
                    self.process = None
                    return [*lines, {"died": code}]
                *whole, buffer = (buffer + part).split(b"\n")
                for text in whole:
                    line = json.loads(text)
                    lines.append(line)
                    if "done" in line:
                        return lines
                    patience = line.get("patience", patience)

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


def answers(worker: Worker, unit: str, cases: list[str]):
    """`(case, answer)` for each case, with the process started again after one that ended it."""
    left = list(cases)
    while left:
        lines = worker.ask({"unit": unit, "cases": left}, 120)
        for line in lines:
            if "case" in line:
                yield line["case"], line["answer"]
        told = {line["case"] for line in lines if "case" in line}
        left = [case for case in left if case not in told]
        last = lines[-1]
        if "done" in last or not left:
            for case in left:
                yield case, "never ran"
            return
        begun = [line["begin"] for line in lines if "begin" in line]
        blamed = begun[-1] if begun and begun[-1] in left else left[0]
        yield blamed, f"hung for {last['hung']} s" if "hung" in last else f"ended the process ({last['died']})"
        left.remove(blamed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=5000, help="number of inputs, drawn from all that there are")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--family", choices=list(hostile.FAMILIES), help="one family alone")
    parser.add_argument("--only", default="", help="units whose names hold one of these texts, with commas between")
    parser.add_argument(
        "--units", type=int, help="number of functions, options and files, drawn from all of each family"
    )
    parser.add_argument("--accepted", action="store_true", help="print what was accepted too, to be read by a person")
    options = parser.parse_args()
    started = time.perf_counter()
    home = pathlib.Path(tempfile.mkdtemp(prefix="hostile-"))
    try:
        _run(options, home, started)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _in_parallel(number: int, work: list, function) -> None:
    queue, lock = collections.deque(work), threading.Lock()

    def loop():
        workers: dict[str, Worker] = {}
        while True:
            with lock:
                if not queue:
                    break
                item = queue.popleft()
            function(workers, item)
        for worker in workers.values():
            worker.stop()

    threads = [threading.Thread(target=loop) for _ in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _run(options, home: pathlib.Path, started: float) -> None:
    families = [options.family] if options.family else list(hostile.FAMILIES)
    planned: dict[tuple[str, str], list[str]] = {}
    uncovered: list[str] = []
    units = []
    for family in families:
        hostile.FAMILIES[family].prepare(home)
        found = hostile.FAMILIES[family].units(home)
        found = [unit for unit in found if any(part in unit for part in options.only.split(","))]
        if options.units is not None and options.units < len(found):
            found = sorted(random.Random(options.seed).sample(found, options.units))
        units += [(family, unit) for unit in found]

    def worker_of(workers, family):
        return workers.setdefault(family, Worker(family, home))

    def plan(workers, item):
        family, unit = item
        lines = worker_of(workers, family).ask({"unit": unit}, 120)
        planned[item] = [case for line in lines for case in line.get("plan", ())]
        if not planned[item]:
            uncovered.append(unit)

    _in_parallel(options.workers, units, plan)
    everything = {
        family: [(item, case) for item in units if item[0] == family for case in planned[item]] for family in families
    }
    chosen = hostile.drawn(everything, options.count, random.Random(options.seed))
    by_unit = collections.defaultdict(list)
    for item, case in chosen:
        by_unit[item].append(case)
    counts = collections.Counter()
    lock = threading.Lock()

    def run(workers, item):
        family, unit = item
        for case, answer in answers(worker_of(workers, family), unit, by_unit[item]):
            kind = answer.partition(":")[0] if answer.startswith(("refused:", "accepted:")) else "bad"
            with lock:
                counts[kind] += 1
                if kind == "bad" or (options.accepted and kind == "accepted"):
                    print(json.dumps({"family": family, "unit": unit, "case": case, "answer": answer}), flush=True)

    _in_parallel(options.workers, sorted(by_unit), run)
    common.emit(
        what="hostile",
        inputs=len(chosen),
        of={family: len(cases) for family, cases in everything.items()},
        bad=counts["bad"],
        refused=counts["refused"],
        accepted=counts["accepted"],
        uncovered=sorted(uncovered),
        seed=options.seed,
        seconds=time.perf_counter() - started,
    )


if __name__ == "__main__":
    main()
