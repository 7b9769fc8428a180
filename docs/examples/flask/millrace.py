"""Sends events to Millrace from a thread of its own, and asks it about users.

Nothing here needs Flask, and nothing beside the standard library: copy this file into any Python program.

    mill = Millrace("http://127.0.0.1:8080", "mr_...", "http://127.0.0.1:8090")
    mill.send({"user_id": "ada", "event_type": "Order Placed", "event_data": {"total": 9.5}})
    answer = mill.ask({"user_id": "ada", "event_type": "help_requested"})

`send` never waits and never raises. What it takes is kept in a bounded queue, goes out in batches, and is sent again until
Millrace has it: each event gets a `message_id` when it is taken, so whatever arrives twice is stored once.
"""

import atexit
import collections
import datetime
import http.client
import json
import logging
import os
import random
import threading
import time
import urllib.error
import urllib.request
import uuid

log = logging.getLogger("millrace")

# The door holds a request for up to 8 seconds while its own log is away, and then says so.
HTTP_TIMEOUT = 15
# Millrace recognises a repeated message_id for an hour (--dedup-window). A batch is given up well before.
GIVE_UP = 30 * 60
LONGEST_PAUSE = 30


class MillraceError(Exception):
    """Why an ask has no answer. `status` is that of HTTP, or 0 when there was none."""

    def __init__(self, status, text):
        super().__init__(text)
        self.status = status


class _Again(Exception):
    """The batch may be sent again, in `after` seconds if the door said when."""

    def __init__(self, text, after=None):
        super().__init__(text)
        self.after = after


class _Refused(Exception):
    """The batch as it is has no chance."""

    def __init__(self, text, status):
        super().__init__(text)
        self.status = status


def now():
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Millrace:
    def __init__(self, url, write_key, query_url, *, queue=10_000, batch=200, batch_bytes=256 << 10, linger=0.1, exit_wait=10):
        self._url, self._query_url, self._key = url.rstrip("/"), query_url.rstrip("/"), write_key
        self._most, self._batch, self._batch_bytes = queue, batch, batch_bytes
        self._linger, self._exit_wait = linger, exit_wait
        self._changed = threading.Condition()
        self._queue = collections.deque()
        self._thread, self._process = None, None
        self._taken = self._done = self._hurry = 0  # counts of events, in the order of the queue
        self._deadline = None  # when closing, the moment to give up
        self.dropped = 0

    @classmethod
    def from_environment(cls):
        key = os.environ.get("MILLRACE_WRITE_KEY", "")
        if not key:
            raise SystemExit("MILLRACE_WRITE_KEY is not set: `make up` prints the key of this installation")
        return cls(
            os.environ.get("MILLRACE_URL", "http://127.0.0.1:8080"), key,
            os.environ.get("MILLRACE_QUERY_URL", "http://127.0.0.1:8090"),
        )

    def send(self, event):
        """Takes one event and returns whether there was room for it."""
        try:
            line = _line(event)
        except (TypeError, ValueError, RecursionError) as error:
            log.error("an event is no JSON and is dropped: %s", error)
            with self._changed:
                self.dropped += 1
            return False
        with self._changed:
            self._start()
            if len(self._queue) >= self._most or self._deadline is not None:
                self.dropped += 1
                if self.dropped == 1 or self.dropped % 1000 == 0:
                    log.error("no room for an event, %d dropped since the start", self.dropped)
                return False
            self._queue.append(line)
            self._taken += 1
            self._changed.notify_all()
        return True

    def flush(self, timeout):
        """Waits until what was taken before is delivered; returns whether it is."""
        with self._changed:
            goal = self._taken
            self._hurry = max(self._hurry, goal)
            self._changed.notify_all()
            return self._changed.wait_for(lambda: self._done >= goal, timeout)

    def close(self):
        """Delivers what is left, for some seconds. At the end of the process it is called by itself."""
        with self._changed:
            if self._process != os.getpid():
                return  # nothing was taken here
            if self._deadline is None:
                self._deadline = time.monotonic() + self._exit_wait
            self._changed.notify_all()
        self._thread.join(self._exit_wait + 1)
        if left := self._taken - self._done:
            log.error("%d events were not delivered", left)

    def ask(self, event, recent=50, timeout=10):
        """Stores a user's request and returns who they are and what they did until a moment ago; see docs/ask.md."""
        self.flush(2)  # what this process has seen comes first, if the door is open
        request = urllib.request.Request(
            f"{self._query_url}/v1/ask?recent={recent}&timeout={timeout}s", _line(event),
            {"Content-Type": "application/json", "X-Write-Key": self._key},
        )
        try:
            with urllib.request.urlopen(request, timeout=timeout + 5) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            raise MillraceError(error.code, _detail(error)) from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise MillraceError(0, f"no answer from {self._query_url}: {error}") from None

    # What follows is the thread's.

    def _start(self):
        # Here and not in __init__: a server that forks its workers copies the object but no thread.
        if self._process != os.getpid():
            self._process = os.getpid()
            self._queue.clear()
            self._done = self._taken
            self._thread = threading.Thread(target=self._run, name="millrace", daemon=True)
            self._thread.start()
            atexit.register(self.close)

    def _run(self):
        while batch := self._next():
            self._deliver(batch)
            with self._changed:
                self._done += len(batch)
                self._changed.notify_all()

    def _next(self):
        """Returns the next lines; none when all is sent and the queue is closed."""
        with self._changed:
            closing = lambda: self._deadline is not None
            self._changed.wait_for(lambda: self._queue or closing())
            self._changed.wait_for(
                lambda: len(self._queue) >= self._batch or self._hurry > self._done or closing(), self._linger)
            lines, size = [], 0
            while self._queue and len(lines) < self._batch and (not lines or size + len(self._queue[0]) <= self._batch_bytes):
                size += len(self._queue[0])
                lines.append(self._queue.popleft())
            return lines

    def _deliver(self, lines):
        began, pause = time.monotonic(), 0.5
        while True:
            try:
                return self._post(lines)
            except _Refused as refused:
                if refused.status == 413 and len(lines) > 1:
                    self._deliver(lines[: len(lines) // 2])
                    return self._deliver(lines[len(lines) // 2 :])
                return self._drop(lines, refused)
            except _Again as again:
                wait = again.after
                if wait is None:
                    wait, pause = pause * random.uniform(0.5, 1), min(2 * pause, LONGEST_PAUSE)
                if not self._pause(wait, began + GIVE_UP):
                    return self._drop(lines, again)
                log.warning("%d events are sent again: %s", len(lines), again)

    def _pause(self, seconds, give_up):
        """Waits; returns whether there may be another try. Closing cuts a pause short, and then there is one more."""
        until = time.monotonic() + seconds
        end = lambda: give_up if self._deadline is None else min(give_up, self._deadline)
        with self._changed:
            if time.monotonic() >= end():
                return False
            while (left := min(until, end()) - time.monotonic()) > 0:
                self._changed.wait(left)
        return True

    def _drop(self, lines, why):
        log.error("%d events are dropped: %s", len(lines), why)
        with self._changed:
            self.dropped += len(lines)

    def _post(self, lines):
        request = urllib.request.Request(
            self._url + "/v1/events", b"\n".join(lines),
            {"Content-Type": "application/x-ndjson", "X-Write-Key": self._key},
        )
        try:
            with urllib.request.urlopen(request, timeout=HTTP_TIMEOUT) as response:
                answer = json.load(response)
            if answer["accepted"] + len(answer["rejected"]) != len(lines):
                raise ValueError(f"the answer is about {answer['accepted']} events, not {len(lines)}")
        except urllib.error.HTTPError as error:
            if error.code in (408, 429) or error.code >= 500:
                raise _Again(_detail(error), _seconds(error.headers.get("Retry-After"))) from None
            raise _Refused(_detail(error), error.code) from None
        except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError) as error:
            raise _Again(f"no answer of a door from {self._url}: {error}") from None
        for rejected in answer["rejected"]:  # the others of the batch are stored
            log.error("Millrace refused an event: %s: %.200s", rejected["reason"], lines[rejected["index"]].decode())


def _line(event):
    event = {"message_id": str(uuid.uuid4()), "timestamp": now(), **event}
    return json.dumps(event, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode("utf-8", "replace")


def _detail(error):
    """The words of an answer that is no 200."""
    try:
        return f"{error.code} {json.load(error)['detail']}"
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
        return f"{error.code} {error.reason}"


def _seconds(retry_after):
    try:
        return max(0.0, float(retry_after))
    except (TypeError, ValueError):
        return None
