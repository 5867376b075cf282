"""One file a tab: layout and wiring only."""
