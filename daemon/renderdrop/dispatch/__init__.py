"""Job → task: which job goes next, to which cluster, and what became of its submission."""
