"""Stage 5: the wins distilled into one LoRA adapter."""
