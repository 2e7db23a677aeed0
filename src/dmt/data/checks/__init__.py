"""`dmt check`: what is wrong with data before anything is learned from it."""
