"""What a training runs is compiled before it is timed."""

import json
import sys
from subprocess import run

import pytest

pytest.importorskip("numba", reason="numba is not installed (pip install 'tpctl[compiled]')")

# In a process of its own: here others may have compiled everything before.
STORY = """
import json, sys
import numpy as np
from tpctl.learn import compiled
from tpctl.learn.environment import synthetic_episodes
from tpctl.learn.config import (TrainConfig)
from tpctl.learn.train import (train)
from tpctl.learn.warm_up import warm_up

def signatures():
    return [len(one.signatures) for one in (compiled.mean_values, compiled._play)]

# So many that a search looks at a part of them each round.
episodes = synthetic_episodes(3, 2_000).take(np.tile(np.arange(2_000), 3))
config = TrainConfig(learner=sys.argv[1])
told = [signatures()]
warm_up(episodes, config)
told.append(signatures())
train(episodes, config, 1)
told.append(signatures())
print(json.dumps(told))
"""


@pytest.mark.parametrize("learner", ["stopping", "cem"])
def test_after_the_warm_up_a_training_compiles_nothing(learner: str) -> None:
    done = run([sys.executable, "-c", STORY, learner], capture_output=True, text=True, check=True)
    before, warm, after = json.loads(done.stdout)

    assert before == [0, 0]
    assert after == warm
    assert warm[1] > 0
    assert (warm[0] > 0) == (learner == "cem")
