"""A finished run put to use: `using` opens it, the others predict, measure and label with it."""
