"""The RL tab: PerMix-RLVR, watched."""
