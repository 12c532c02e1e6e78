"""What the tests of this folder share."""

import pytest

from lewm.planning import solver as solvers


class Recording:
    """Stands for a CUDA graph."""

    made: list[int]
    replayed: list[int]

    def __init__(self, search, problem, others=None):
        self.search, self.shapes = search, problem.shapes
        self.others = others
        self.made.append(len(problem))

    def replay(self, problem):
        assert problem.shapes == self.shapes
        self.replayed.append(len(problem))
        return self.search(problem)


@pytest.fixture
def recording(monkeypatch):
    """Has solvers make stand-ins for CUDA graphs, which tell how many environments each is for."""
    monkeypatch.setattr(Recording, "made", [], raising=False)
    monkeypatch.setattr(Recording, "replayed", [], raising=False)
    monkeypatch.setattr(solvers, "Graph", Recording)
    return Recording
