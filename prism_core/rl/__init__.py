"""PerMix-RLVR: reinforcement learning with verifiable rewards under mixed personas."""
