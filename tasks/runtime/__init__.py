"""What every room needs: the home folder, errors, progress, processes, plugins, stored tables."""
