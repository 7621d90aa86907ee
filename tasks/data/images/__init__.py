"""Photos: facts, decoding, resizing and fixed views."""
