"""The board: results of many papers and of own runs, as static pages. No figure is computed."""
