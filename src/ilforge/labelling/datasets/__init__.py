"""Sets of labels to train on and to share."""
