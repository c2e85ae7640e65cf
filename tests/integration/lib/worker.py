"""A thread with a connection, which does steps until it is told to stop or its connection ends. A
reply that may not be is a fault."""

import random
import threading

from lib.resp import Client, Closed


class Worker(threading.Thread):
    def __init__(self, name, port, faults, seed, stop):
        super().__init__(name=name, daemon=True)
        self.port = port
        self.faults = faults
        self.random = random.Random(f"{seed} {name}")
        self.stop = stop
        self.client = None

    def run(self):
        try:
            with Client(self.port) as self.client:
                self.begin()
                while not self.stop.is_set():
                    self.step()
        except (Closed, ConnectionError):
            pass
        except Exception as reason:  # pylint: disable=broad-except
            self.faults.append(f"{self.name}: {type(reason).__name__}: {reason}")

    def begin(self):
        """Before the first step."""

    def step(self):
        raise NotImplementedError
