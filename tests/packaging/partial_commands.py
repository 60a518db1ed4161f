"""Runs commands of tinygen, read from stdin as JSON, in this process; prints exit status and output of each."""

from __future__ import annotations

import json
import sys

from tests.support.command import tinygen

if __name__ == "__main__":
    ended = [tinygen(*arguments) for arguments in json.load(sys.stdin)]
    print(json.dumps([(done.returncode, done.stdout + done.stderr) for done in ended]))
