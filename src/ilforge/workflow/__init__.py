"""The workflow: stages, the store of their results, the scheduler, and the plan of a study."""
