"""What a student does, class by class: confusion, calibration, and samples on which it differs from its teacher. Pure functions of arrays."""
