"""Networks: backbones, heads, weights, and what is cut, frozen and saved of them."""
