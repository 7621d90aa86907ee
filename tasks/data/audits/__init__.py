"""What can be wrong with data before any training: copies across splits, wrong labels, shortcuts."""
