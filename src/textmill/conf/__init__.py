"""The Hydra configuration, inside the package so that an installed wheel has it."""
