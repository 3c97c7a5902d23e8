"""The search: a Hydra sweeper that draws points with Optuna and has worker processes run them."""
