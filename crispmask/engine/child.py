"""What a process does that another one has started: it trains as one of the ranks."""

from __future__ import annotations

import logging
import os
import pickle
import signal
import sys
import threading
import time
import traceback
from dataclasses import replace
from typing import Any

from crispmask.engine.children import describe
from crispmask.errors import CrispmaskError


def serve() -> None:
    """Trains with what comes in; says why if it fails."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the one that started us hears it, and stops us
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    requests = os.fdopen(os.dup(0), "rb")
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints shall not get between the replies

    def reply(word: Any) -> None:
        pickle.dump(word, replies)
        replies.flush()

    try:
        rank, config, transform, seat = pickle.load(requests)
        logging.basicConfig(format=f"%(levelname)s: rank {rank}: %(message)s")
        from crispmask.engine.fit import fit

        fit(config, transform=transform, seat=replace(seat, on_ready=lambda: reply("ready")))
    except BaseException as error:
        report = describe(error)
        if not report.is_consequence and not isinstance(error, CrispmaskError):
            traceback.print_exc()
            sys.stderr.flush()
        reply(report)
        os._exit(1)  # now: others wait for us, and a library may not end while they do


def _end_with(parent: int) -> None:
    """Ends this process when the one that started it has gone."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
