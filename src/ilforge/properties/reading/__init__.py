"""Read trajectories of all kinds frame by frame."""
