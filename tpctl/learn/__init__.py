"""Learning where to exit: episodes, the vectorised simulator, learners, evaluation and promotion. Needs `learn`."""
