"""The Train tab: PRISM's five stages, watched, and the adapters they leave."""
