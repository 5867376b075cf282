"""What a study's table says: grids, paired effects and summaries. Numbers only."""
