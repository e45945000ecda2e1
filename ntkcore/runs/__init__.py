"""What an experiment is and how it gets done: specs, the store of results, stages, the worker process."""
