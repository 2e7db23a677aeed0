"""`dmt compare`: many runs and one table. `comparing` makes them."""
