"""A search in stages: costs, sub-nets of a super-net, and the training of finalists."""
