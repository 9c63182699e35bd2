"""What every command shares: options, seeds, files, checkpoints, processes."""
