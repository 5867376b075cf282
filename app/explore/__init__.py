"""The Explore tab: a study's figures, filters over all of them, and the answers behind a point."""
