"""Planning: which student of a family fits a target's budgets, counted before anything is trained."""
