"""Output for people: Data Docs, figures and the page of a run."""
