"""What a student does, class by class: confusion, calibration, samples on which it differs from its teacher. All functions of arrays."""
