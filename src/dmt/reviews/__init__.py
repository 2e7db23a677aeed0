"""`dmt review` and `dmt apply`: what to label next, which labels look wrong, and mending them."""
