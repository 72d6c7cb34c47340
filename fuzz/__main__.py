"""`python -m fuzz`: run a target until its time is over or something is found."""

from __future__ import annotations

import argparse
import random
import sys
import time
import traceback

from fuzz.targets import CANARY, TARGETS, Target

SMOKE_SECONDS = 2.0
HANG_SECONDS = 5.0


def mutate(data: bytes, chance: random.Random) -> bytes:
    """Return `data` with a few bits, bytes, spans or lengths changed; sometimes noise instead."""
    if chance.random() < 0.05:
        return chance.randbytes(chance.randrange(200))
    out = bytearray(data)
    for _ in range(chance.choice([0, 1, 1, 1, 2, 4, 8])):
        if not out:
            out += chance.randbytes(1)
        at = chance.randrange(len(out))
        kind = chance.randrange(6)
        if kind == 0:
            out[at] ^= 1 << chance.randrange(8)
        elif kind == 1:
            out[at] = chance.choice([0, 1, 0x7F, 0x80, 0xFF])
        elif kind == 2:
            del out[at : at + chance.randrange(1, 9)]
        elif kind == 3:
            out[at:at] = chance.randbytes(chance.randrange(1, 9))
        elif kind == 4:
            out[at : at + 4] = chance.choice([b"\xff\xff\xff\xff", b"\0\0\0\0", b"\xff\xff\xff\x7f"])
        else:
            start = chance.randrange(len(out))
            out[at:at] = out[start : start + chance.randrange(1, 40)]
    return bytes(out)


def fuzz(target: Target, seed: int, seconds: float) -> str:
    """Run one target; return "" or what was found, with how to see it again."""
    chance = random.Random(seed)
    stop_at = time.monotonic() + seconds
    number = 0
    while time.monotonic() < stop_at:
        number += 1
        data = mutate(target.seed(chance), chance)
        began = time.monotonic()
        try:
            target.run(data)
        except Exception:  # noqa: BLE001 - whatever a decoder lets out is the finding
            return f"{target.name}: input {number} of seed {seed}: {data!r}\n{traceback.format_exc()}"
        if time.monotonic() - began > HANG_SECONDS:
            return f"{target.name}: input {number} of seed {seed} took over {HANG_SECONDS} s: {data!r}"
    print(f"{target.name}: {number} inputs of seed {seed}, nothing found")
    return ""


def main() -> int:
    """Run what the command line names."""
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("target", choices=[*TARGETS, "smoke", "canary"])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=None)
    args = parser.parse_args()
    if args.target == "canary":
        found = fuzz(CANARY, args.seed, args.seconds or SMOKE_SECONDS)
        print("the canary was found" if found else "THE CANARY WAS MISSED: the fuzzer finds nothing")
        return 0 if found else 1
    targets = list(TARGETS.values()) if args.target == "smoke" else [TARGETS[args.target]]
    findings = [fuzz(target, args.seed, args.seconds or SMOKE_SECONDS) for target in targets]
    for finding in filter(None, findings):
        print(finding, file=sys.stderr)
    return 1 if any(findings) else 0


if __name__ == "__main__":
    sys.exit(main())
