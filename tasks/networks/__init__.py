"""Networks: backbones, heads, weights; cutting, freezing and saving."""
