"""What a first recipe says about data that nobody has described yet."""
