"""What only the command `dmt` needs: its larger commands, what it prints, how it ends."""
