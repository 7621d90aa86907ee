"""Pieces of the DAG that several flows share."""
