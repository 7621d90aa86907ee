"""Reading what a source names: folders, tables, files and their facts."""
