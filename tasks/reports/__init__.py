"""What a person looks at: Data Docs, figures and the page of a run."""
