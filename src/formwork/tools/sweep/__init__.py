"""Tool sweep: the best values of some params, searched with Optuna; see formwork.tools.sweep.sweep."""
