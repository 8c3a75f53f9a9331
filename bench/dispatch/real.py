"""`python -m bench.dispatch.real`: the system test of the policy, through the real program, three times in a row."""

import subprocess
import sys


def main() -> int:
    """How many of the three did not end sooner than by load alone."""
    test = "tests/system/test_expected_completion.py"
    command = [sys.executable, "-m", "pytest", "-n", "1", "-q", test]
    runs = [subprocess.run(command, check=False).returncode for _ in range(3)]  # noqa: S603 - fixed words
    sys.stdout.write(f"{runs.count(0)} of {len(runs)}: the batch ended sooner than with least-loaded\n")
    return len(runs) - runs.count(0)


if __name__ == "__main__":
    sys.exit(main())
